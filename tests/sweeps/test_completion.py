"""Shell completion: completions, their sources, their imports, and real shells."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from records import RECORD

from sweeps.cli import cli
from sweeps.cli.completion import COMMAND, SHELLS, VARIABLE
from sweeps.config.config_files import groups
from sweeps.storage.ledger import Ledger, SweepEntry
from sweeps.storage.outbox import OutboxItem

SPHERE_KEYS = ("norm", "labels", "label_seed", "bias", "n", "test_n", "d", "seed")

ROOT = Path(__file__).parents[2]
SWEEP = "f0" * 8


def offered(line):
    """The words that completion offers for a line."""
    *words, last = line.split(" ")
    items = SHELLS["bash"](cli, {}, COMMAND, VARIABLE).get_completions(words, last)
    return [item.value for item in items]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An output root with one trial and one sweep."""
    monkeypatch.setenv("SWEEPS_OUTPUT", str(tmp_path))
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.save(RECORD)
    ledger.open_sweep("local", SweepEntry("study", SWEEP, {}, "1", "run", "FINISHED"))
    ledger.enqueue("local", [OutboxItem("study", RECORD.config_hash, SWEEP, "relu seed=0")])
    ledger.close()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run experiment=qu", ["experiment=quickstart"]),
        ("run data=", [f"data={name}" for name in groups()["data"]]),
        ("run mod", ["model."]),
        ("theory model.sigma", ["model.sigma_w2=", "model.sigma_a="]),
        ("show model.activation=ta", ["model.activation=tanh"]),
        ("run -m model.activation=tanh,ge", ["model.activation=tanh,gelu"]),
        ("run train.eta_unit=t", ["train.eta_unit=tangent", "train.eta_unit=theorem"]),
        ("run search=optuna search.metric=rate/measured_s", ["search.metric=rate/measured_stderr"]),
        ("run data=sphere data.", [f"data.{key}=" for key in SPHERE_KEYS]),
        ("run data=digits data.s", []),
        ("run --ret", ["--retry-failed"]),
        ("completion ", ["bash", "zsh"]),
    ],
)
def test_overrides(line, words):
    assert offered(line) == words


def test_choices_of_ones_own_are_completed(tmp_path, monkeypatch):
    """After `+`, a group that only the user has; a choice of the user's may have any key."""
    monkeypatch.chdir(tmp_path)
    for name in ("data/mine", "probe/deep", "probe/wide"):
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# @package _global_\nseed: 1\n")
    assert offered("run +pro") == ["+probe="]
    assert offered("run +probe=w") == ["+probe=wide"]
    assert offered("run +data=") == []
    assert offered("run probe") == []
    assert offered("run data=mi") == ["data=mine"]
    assert {"data.d=", "data.classes="} <= set(offered("run data=mine data."))
    assert offered("run --config-dir nowhere data=mi") == []
    assert offered("run data.path=some") == ["some"]


def test_a_value_of_an_axis_is_offered_once():
    assert "model.activation=relu,relu" not in offered("run model.activation=relu,")


@pytest.mark.parametrize("command", ["report", "resume", "status", "reproduce --sweep"])
def test_sweeps_are_completed_from_the_ledger(command, root):
    assert offered(f"{command} f0f") == [SWEEP[:12]]
    assert offered(f"{command} 123") == []


def test_trials_are_completed_from_the_ledger(root, tmp_path):
    digest = RECORD.config_hash
    assert offered("reproduce aba") == [digest[:12]]
    assert offered("diff ababab ab") == [digest[:12]]
    assert offered(f"diff {digest[:20]}") == [digest[:20]]
    assert offered(f"reproduce paths.output={tmp_path / 'none'} aba") == []


def test_an_unreadable_ledger_gives_no_completions(root):
    (root / "ledger.db").write_bytes(b"not a database" * 100)
    assert offered("report f0f") == []


def test_completion_imports_nothing_slow(root):
    """It takes 0.2 s on two busy cores, 0.05 s of CPU time."""
    env = os.environ | {"COMP_LINE": "sweeps reproduce ab", VARIABLE: "bash_complete"}
    env |= {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-X", "importtime", "-m", "sweeps"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["plain,abababababab"]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "hydra", "mlflow", "ray", "pyarrow", "pydantic", "yaml"}


# What is typed before a tab, and what the tab adds.
TYPED = {
    "sweeps run exp": "eriment=",
    "quick": "start",
    "model.act": "ivation=",
    "ta": "nh",
    "train.eta_u": "nit=",
    "pop": "ulation",
}


@pytest.mark.parametrize(
    ("shell", "command"),
    [
        ("bash", ["--norc", "--noprofile", "-i"]),
        ("zsh", ["-f", "-i"]),
    ],
)
def test_completion_in_a_real_shell(shell, command, tmp_path):
    """A group, its choice, a key and a value are typed with tabs; echo prints the result."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "sweeps").write_text(f"#!{sys.executable}\nfrom sweeps.cli import main\nmain()\n")
    (tmp_path / "sweeps").chmod(0o755)
    env = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TERM": "vt100",
        "HOME": str(tmp_path),
    }
    lines = ["autoload -U compinit && compinit -u -D"] if shell == "zsh" else []
    lines += [f"source <(sweeps completion {shell})", "echo rea''dy"]
    with _Terminal([program, *command], env, tmp_path) as terminal:
        terminal.say("\n".join(lines) + "\n")
        terminal.until("ready")
        for part, rest in TYPED.items():
            terminal.say(part + "\t")
            terminal.until(rest)
        # To the line's start, `echo` before it, and off: what was completed is printed.
        terminal.say("\x01echo com''pleted: \n")
        output = terminal.until("completed: sweeps")
        output += terminal.until("\n")
    line = output.split("completed: ")[-1].split()
    expected = "sweeps run experiment=quickstart model.activation=tanh train.eta_unit=population"
    assert line == expected.split()


class _Terminal:
    """A process on its own terminal."""

    def __init__(self, command, env, cwd):
        self._primary, secondary = pty.openpty()
        self._process = subprocess.Popen(
            command,
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        os.close(secondary)
        self._heard = ""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.kill()
        self._process.wait()
        os.close(self._primary)

    def say(self, text):
        os.write(self._primary, text.encode())

    def until(self, text):
        """Read the terminal up to and with this text; return what was read."""
        end = time.monotonic() + 30
        while text not in self._heard:
            ready, _, _ = select.select([self._primary], [], [], end - time.monotonic())
            assert ready, self._heard
            self._heard += os.read(self._primary, 4096).decode(errors="replace")
        before, _, self._heard = self._heard.partition(text)
        return before + text
