"""The door to git: which code this is, and a clean checkout of an earlier state of it."""

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
# What a git that fails has said when it says nothing.
SILENT = "no reason given"
# The same text whatever the user's settings, and one that can be applied again.
_DIFF = (
    *("diff", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv"),
    *("--src-prefix=a/", "--dst-prefix=b/", "HEAD"),
)
# Where a new file is code, as git's patterns have it: * crosses folders.
_CODE = ("deq/*.py", "sweeps/*.py", "conf/*.yaml")
# A hook that calls this tool would point git at its own repository.
_ENV = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}


@functools.cache
def code_version() -> dict[str, str]:
    """Commit and uncommitted diff of the checkout this package runs from, if it is one.

    Where git refuses, both are empty, and `error` is what it said.
    """
    if not (ROOT / ".git").exists():
        return {}
    try:
        return {
            "commit": _git(ROOT, "rev-parse", "HEAD").strip(),
            "diff": without_secrets(_diff(ROOT)),
        }
    except ConfigError as error:
        return {"commit": "", "diff": "", "error": without_secrets(str(error))}


def _with_remedy(refusal: str) -> str:
    """Message of git, with the remedy where the checkout is another user's."""
    if not any(words in refusal for words in ("dubious ownership", "unsafe repository")):
        return refusal
    return f"{refusal}: `git config --global --add safe.directory {shlex.quote(str(ROOT))}`"


def commit(name: str) -> str:
    """The full hash of a commit of the checkout this package runs from.

    Raises:
        ConfigError: it is no checkout, git is not there, or it knows no such commit.
    """
    if not (ROOT / ".git").exists():
        raise ConfigError("this sweeps is no git checkout: run it from a clone of its repository")
    try:
        found = _git(
            ROOT, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
        )
    except ConfigError as error:
        if SILENT not in str(error):  # git itself could not be run, or refuses the checkout
            raise
        raise ConfigError(f"{ROOT} has no commit {name!r}: fetch it with git") from error
    return found.strip()


def check_out(name: str, diff: str, folder: Path) -> None:
    """Make `folder` a clone of this checkout at a commit, with a diff applied.

    The repository itself is left as it is. The clone borrows its objects.

    Raises:
        ConfigError: the commit or the diff cannot be had.
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
    """What differs from the last commit, new files of the code that git does not know yet too."""
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *_CODE)
    if not new:
        return _git(root, *_DIFF)
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index"  # the user's own is not touched
        shutil.copy(root / _git(root, "rev-parse", "--git-path", "index").strip(), index)
        _git(root, "add", "--intent-to-add", "--", *new.rstrip("\0").split("\0"), index=index)
        return _git(root, *_DIFF, index=index)


def _git(root: Path, *words: str, stdin: str = "", index: Path | None = None) -> str:
    """What git prints.

    Raises:
        ConfigError: it is not there (the cause says why), or it fails.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words],
            input=stdin.encode(errors="surrogateescape"),
            capture_output=True,
            check=False,
            timeout=120,
            env=_ENV | ({"GIT_INDEX_FILE": str(index)} if index else {}),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"git cannot be run: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [SILENT]
        raise ConfigError(_with_remedy(f"git {words[0]}: {said[0]}"))
    # Not as text: that would rewrite the line endings of a diff.
    return done.stdout.decode(errors="surrogateescape")
