"""Calls git: the version of this code, and a clean checkout of an earlier version."""

import functools
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from sweeps.errors import ConfigError
from sweeps.redaction import without_secrets

ROOT = Path(__file__).parents[2]
# Commit of an installation that is no git checkout.
COMMIT_VARIABLE = "SWEEPS_COMMIT"
# Error text of a git that fails without a message.
NO_REASON = "no reason given"
# The diff must not depend on the user's settings, and `git apply` must take it.
_DIFF = (
    *("diff", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv"),
    *("--src-prefix=a/", "--dst-prefix=b/", "HEAD"),
)
# Patterns of new files that are code; in git's patterns, * matches subfolders too.
_CODE = ("deq/*.py", "sweeps/*.py", "conf/*.yaml")
# In a git hook, these variables would point git at the hook's repository.
_ENV = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}


@functools.cache
def code_version() -> dict[str, str]:
    """Return the commit and the uncommitted diff of this package's checkout.

    Returns:
        `commit` and `diff`; if git fails, both are empty and `error` holds its message.
        Without a git checkout, the commit that SWEEPS_COMMIT names, as in the container image;
        empty if it names none.
    """
    if not (ROOT / ".git").exists():
        return _named_version(os.environ.get(COMMIT_VARIABLE, ""))
    try:
        return {
            "commit": _git(ROOT, "rev-parse", "HEAD").strip(),
            "diff": without_secrets(_diff(ROOT)),
        }
    except ConfigError as error:
        return {"commit": "", "diff": "", "error": without_secrets(str(error))}


def _named_version(name: str) -> dict[str, str]:
    """Return the code version that `git describe --dirty` named when the image was built."""
    if not name:
        return {}
    if name.endswith("-dirty"):
        error = f"this installation was built from {name[:12]} with uncommitted changes"
        return {"commit": "", "diff": "", "error": error}
    return {"commit": name, "diff": ""}


def _with_remedy(refusal: str) -> str:
    """Return git's message; with the remedy, if the checkout belongs to another user."""
    if not any(words in refusal for words in ("dubious ownership", "unsafe repository")):
        return refusal
    return f"{refusal}: `git config --global --add safe.directory {shlex.quote(str(ROOT))}`"


def commit(name: str) -> str:
    """Return the full hash of a commit of this package's checkout.

    Args:
        name: a hash, branch or tag.

    Raises:
        ConfigError: there is no checkout, no git, or no such commit.
    """
    if not (ROOT / ".git").exists():
        raise ConfigError("this sweeps is no git checkout: run it from a clone of its repository")
    try:
        full_hash = _git(
            ROOT, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
        )
    except ConfigError as error:
        if NO_REASON not in str(error):  # git is missing, or refuses the checkout
            raise
        raise ConfigError(f"{ROOT} has no commit {name!r}: fetch it with git") from error
    return full_hash.strip()


def check_out(name: str, diff: str, folder: Path) -> None:
    """Clone this checkout into a folder at a commit, and apply a diff there.

    The checkout itself does not change. The clone shares its objects.

    Args:
        name: the commit.
        diff: a diff; may be empty.
        folder: the new folder.

    Raises:
        ConfigError: there is no such commit, or the diff does not apply.
    """
    quiet = ("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false")
    _git(ROOT, "clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(folder))
    _git(folder, *quiet, "checkout", "--quiet", "--detach", name)
    if diff:
        try:
            _git(folder, "apply", "--index", "--whitespace=nowarn", "-", stdin=diff)
        except ConfigError as error:
            raise ConfigError(
                f"the recorded diff does not apply to commit {name[:12]} ({error}): "
                "--at COMMIT without it, from the commit that holds these changes"
            ) from error


def _diff(root: Path) -> str:
    """Return the diff to the last commit, with new files of code that git does not track yet."""
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *_CODE)
    if not new:
        return _git(root, *_DIFF)
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index"  # a copy: the user's index does not change
        shutil.copy(root / _git(root, "rev-parse", "--git-path", "index").strip(), index)
        _git(root, "add", "--intent-to-add", "--", *new.rstrip("\0").split("\0"), index=index)
        return _git(root, *_DIFF, index=index)


def _git(root: Path, *arguments: str, stdin: str = "", index: Path | None = None) -> str:
    """Run git and return its output.

    Raises:
        ConfigError: git is missing (then the cause is an OSError), or fails.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            input=stdin.encode(errors="surrogateescape"),
            capture_output=True,
            check=False,
            timeout=120,
            env=_ENV | ({"GIT_INDEX_FILE": str(index)} if index else {}),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"git cannot be run: {error}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [NO_REASON]
        raise ConfigError(_with_remedy(f"git {arguments[0]}: {lines[0]}"))
    # Decoded by hand: text mode would rewrite the line endings of a diff.
    return done.stdout.decode(errors="surrogateescape")
