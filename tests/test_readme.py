"""README, list of commands and studies: commands work, links and pictures exist."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sweeps.cli import cli

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
PAGES = ("studies", "how-to/search")
STUDIES = "\n".join((ROOT / "docs" / f"{name}.md").read_text() for name in PAGES)
MAKEFILE = (ROOT / "Makefile").read_text()
BY_TASK = (ROOT / "docs" / "how-to" / "commands.md").read_text()
COMMANDS = re.findall(r"`(sweeps (?!COMMAND)[^`]*)`", TEXT + BY_TASK)
COMMANDS += re.findall(r"^    (sweeps .*)$", STUDIES, re.MULTILINE)
# A page's command at full size takes seconds.
SMALL = ("data.n=8", "model.width=16")
# Commands that take long or never end: only their --help is tested.
LONG = {
    "ui",
    "verify",
    "sync",
    "report",
    "reproduce",
    "diff",
    "status",
    "resume",
    "stop",
    "doctor",
} | {
    *("export", "import", "cite"),
}

SOFTSIGN = """
import deq
softsign = deq.Activation(
    name="softsign",
    function=lambda x: x / (1 + x.abs()),
    derivative=lambda x: 1 / (1 + x.abs()) ** 2,
    lipschitz=1.0,
    curvature=2.0,
    at_zero=0.0,
    smooth=False,
)
"""


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_every_sweeps_command_is_understood(command, tmp_path, monkeypatch):
    """`sweeps run` is planned only; other commands run to their end, `sweeps theory` small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPS_OUTPUT", str(tmp_path / "outputs"))
    monkeypatch.syspath_prepend(tmp_path)
    np.savez(tmp_path / "own.npz", x=np.eye(4), y=np.ones(4))
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "phi.py").write_text(SOFTSIGN)
    _, name, *words = shlex.split(command.replace("FILE.npz", "own.npz"))
    if name == "run":
        words.append("--dry-run")
    if name == "theory":
        words += SMALL
    if name in LONG:
        words = ["--help"]
    done = CliRunner().invoke(cli, [name, *words])
    assert done.exit_code == 0, done.output or done.exception
    assert done.output


def test_the_readme_has_commands():
    assert len(COMMANDS) >= 10
    assert len(TEXT.splitlines()) <= 120


def test_the_sweep_it_loads_is_the_one_it_launches(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPS_OUTPUT", str(tmp_path))
    (overrides,) = re.findall(r"sweeps\.launch\((\[.*?\])\)", TEXT)
    (name,) = re.findall(r'sweeps\.load\("(\w+)"\)', TEXT)
    done = CliRunner().invoke(cli, ["run", *json.loads(overrides), "--dry-run", "--json"])
    assert json.loads(done.stdout)["sweep"] == name


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make (\w+)", TEXT))))
def test_every_make_target_exists(target):
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TEXT))))
def test_every_link_exists(path):
    assert (ROOT / path).exists()
