"""Every command, code block and file of the tutorial and the how-to pages, page by page.

A `sweeps run` is run to its end at a small size in this process; what needs a cluster, a
server or a GPU is planned only. Names of sweeps and trials that a page shows must be those
of its own commands at full size.
"""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from documents import PAGES, ROOT, WRITTEN, links, steps

from deq import Status
from docs import api
from sweeps.cli import cli
from sweeps.config import config_files, hydra, hydra_session
from sweeps.config.search import SEARCHES
from sweeps.reports.figures import style

SMALL = {"data.n": "6", "train.steps": "20", "cluster": "inline"}
# Parts of a command that need what is not here: such a run is planned only.
ELSEWHERE = ("cluster=ray", "tracking=server", "gpus_per_trial")
# Servers that go on for ever, checkouts that install, examinations of the machine; and stops,
# which need a sweep that runs.
HELP_ONLY = ("ui", "doctor", "stop", "reproduce HASH --at")
NOT_RUN = ("docker compose ", ". .venv/bin/activate", "umask ", "export ", "mkdir ", "ssh ")
NOT_RUN += ("mlflow server ", "ray get-auth-token ", "apt-get ", "sed ", "unset ")
# Read and run by tests/deploy/ and tests/containers/.
NOT_RUN += (
    "make env",
    "make image",
    "make install",
    "docker ",
    "kubectl ",
    "sbatch ",
    "deploy/slurm/",
)
PLANS = ("run", "show", "theory")
NAME = re.compile(r"[0-9a-f]{12}")
PYTHON_PAGES = tuple(f"api/{package}.md" for package in api.PACKAGES)


class Reader:
    """Somebody who does what the pages say, in one folder."""

    def __init__(self, folder):
        self.folder = folder
        self.names = {}  # of sweeps and trials: at full size -> as they are here
        self.sweep, self.hashes = "", []

    def sweeps(self, words):
        """Run the command, small; its output."""
        name, asked = words[0], " ".join(words)
        if asked.startswith(HELP_ONLY):
            words = [name, "--help"]
        elif name in PLANS:
            words = self._small(words)
        elif name == "verify":
            words = [*self._small(words), "model.width=8,16", "seed=0"]
        else:
            words = [self._here(word) for word in words]
        trains = name == "run" and "--dry-run" not in words
        if trains:
            words = [*words, "--dry-run" if self._is_elsewhere(words) else "--json"]
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, f"{words}: {done.output} {done.exception!r}"
        if trains and words[-1] == "--json":
            self._note(json.loads(done.stdout))
        return done.stdout

    def learn(self, words):
        """Note the names that the full-size command has, and those of the small one."""
        pair = []
        for asked in (words, self._small(words)):
            done = CliRunner().invoke(cli, [*asked, "--dry-run", "--json"])
            assert done.exit_code == 0, done.output
            plan = json.loads(done.stdout)
            pair.append([plan["sweep"], *(t["config_hash"][:12] for t in plan["trials"])])
        self.names |= dict(zip(*pair, strict=True))

    def _note(self, result):
        self.sweep = result["sweep"]
        self.hashes = [trial["config_hash"] for trial in result["trials"]]
        failed = [trial["error"] for trial in result["trials"] if trial["error"]]
        assert not failed

    def _here(self, word):
        if NAME.fullmatch(word):
            return self.names[word]
        return {"SWEEP": self.sweep, "HASH": self.hashes[0]}.get(word, word)

    def _small(self, words):
        kept = [word for word in words if word.partition("=")[0] not in SMALL]
        elsewhere = self._is_elsewhere(words)
        small = {k: v for k, v in SMALL.items() if not (elsewhere and k == "cluster")}
        kept += [word for word in words if elsewhere and word.startswith("cluster=")]
        if any(word.startswith("data=npz") for word in words):
            del small["data.n"]
        return [*kept, *(f"{key}={value}" for key, value in small.items())]

    def _is_elsewhere(self, words):
        return any(part in word for part in ELSEWHERE for word in words)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """One folder for all pages, with a finished sweep to name."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "conf", folder / "conf")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SWEEPS_OUTPUT", "outputs")
        patch.syspath_prepend(folder)
        for module in (hydra, config_files, hydra_session):
            patch.setattr(module, "conf_dir", lambda: folder / "conf")
        reader = Reader(folder)
        reader.sweeps(["run", "seed=0,1", "model.width=16"])
        yield reader


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_steps_of_a_page_work(page, reader, monkeypatch):
    if "tutorial" not in page.stem:  # whose figures are drawn; the others' take half the time
        monkeypatch.setattr(style, "png", lambda figure: b"")
    for step in steps(page.read_text()):
        if step.kind == "file":
            path = Path(step.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.text)
        elif step.kind == "code":
            text = NAME.sub(lambda values: reader.names[values.group()], step.text)
            exec(compile(text, str(page), "exec"), {})  # noqa: S102
        elif step.text.startswith("cd "):
            monkeypatch.chdir(step.text.removeprefix("cd "))
            monkeypatch.syspath_prepend(Path.cwd())  # as the command itself does
            for name in ("sweep", "hashes"):  # the next page is read in the first folder
                monkeypatch.setattr(reader, name, getattr(reader, name))
        elif step.text == "make quickstart":
            reader.learn(["run", "experiment=quickstart"])
            reader.sweeps(["run", "experiment=quickstart"])
        elif not step.text.startswith(NOT_RUN):
            command, *words = shlex.split(step.text)
            assert command == "sweeps", step.text
            if words[0] == "run" and "tutorial" in page.stem and "search" not in step.text:
                reader.learn([word for word in words if word != "--dry-run"])
            reader.sweeps(words)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda path: path.stem)
def test_links_and_names(page):
    text = page.read_text()
    for link in links(text):
        # API pages are written when the site is built.
        assert (page.parent / link).exists() or link.endswith(PYTHON_PAGES), link
    for command in re.findall(r"`sweeps (?!COMMAND)(\w+)[^`]*`", text):
        assert command in cli.commands
    index = (ROOT / "docs" / "index.md").read_text()
    assert page.name == "index.md" or page.name in index


def test_every_command_is_in_the_page_of_all_commands():
    text = (ROOT / "docs/how-to/commands.md").read_text()
    assert not {name for name in cli.commands if f"sweeps {name}" not in text}


def test_every_search_is_in_the_table_of_searches():
    page = (ROOT / "docs/how-to/search.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(SEARCHES)


def test_the_statuses_of_trials_are_explained_on_one_page():
    pages = {page.name: page.read_text() for page in WRITTEN}
    for status in Status:
        explaining = [name for name, text in pages.items() if f"\n| `{status}` | " in text]
        assert explaining == ["exit-codes.md"], status


def test_the_architecture_names_modules_and_folders_that_exist():
    page = (ROOT / "docs/architecture.md").read_text()
    named = re.findall(r"\b(\w+/\w+\.py)\b", page + (ROOT / "docs/assets/trial.svg").read_text())
    assert len(set(named)) >= 20
    for path in set(named):
        assert (ROOT / "sweeps" / path).exists() or (ROOT / path).exists(), path
    for package in ("sweeps", "deq"):
        for init in (ROOT / package).glob("*/__init__.py"):
            assert f"`{init.parent.name}/`" in page or f"`{init.parent.name}`" in page


def test_environment_variables_are_listed():
    page = (ROOT / "docs/exit-codes.md").read_text()
    sources = [*(ROOT / "sweeps").rglob("*.py"), *(ROOT / "conf").rglob("*.yaml")]
    pattern = r"environ(?:\.get)?[(\[]\"(\w+)|\$\{(?:oc\.env|env_or):(\w+)|_VARIABLE = \"(\w+)\""
    texts = [path.read_text() for path in sources]
    read = {name for text in texts for names in re.findall(pattern, text) for name in names}
    read -= {"", "NAME", "BREAKS", "COMP_LINE", "PYTHONPATH"}  # the shell's, and Python's
    assert {"SWEEPS_OUTPUT", "RAY_ADDRESS", "SWEEPS_COMMIT"} <= read
    for name in read:
        assert f"`{name}`" in page, name
