"""Ctrl-C, SIGTERM and a closed terminal: one line and 130, whatever is cut off."""

import os
import pty
import signal
import subprocess
import sys

import pytest
from command import ENV, SMALL, client, inside, runs

pytestmark = pytest.mark.slow

# Put before every import of a process: sends it a signal at the import of a module.
SENDS = """import os
import signal
import sys


class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["SEND_AT"]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), int(os.environ["SEND"]))


sys.meta_path.insert(0, Sender())
"""


@pytest.fixture
def sent(tmp_path):
    """The command `words`, sent a signal at an import, with some signals ignored before."""
    (tmp_path / "sitecustomize.py").write_text(SENDS)

    def run(words, number, at, ignored=()):
        def begin():
            for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(one, signal.SIG_IGN if one in ignored else signal.SIG_DFL)

        env = ENV | {"SEND": str(int(number)), "SEND_AT": at}
        env["PYTHONPATH"] = f"{tmp_path}:{env['PYTHONPATH']}"
        return subprocess.run(
            [sys.executable, *words],
            env=env,
            cwd=tmp_path,
            preexec_fn=begin,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


RUN = ("-m", "sweeps", "run", *SMALL, "cluster=inline")
LINE = "sweeps: interrupted; the same command again goes on from here\n"


@pytest.mark.parametrize(
    ("number", "at"),
    [
        (signal.SIGINT, "sweeps.cli.entry"),
        (signal.SIGHUP, "click"),
        (signal.SIGINT, "torch"),
        (signal.SIGTERM, "torch._C"),
        (signal.SIGINT, "hydra"),
    ],
)
def test_during_its_imports(sent, number, at):
    done = sent(RUN, number, at)
    # Click ends the line in which a terminal shows ^C.
    assert (done.returncode, done.stderr.lstrip("\n")) == (130, LINE)
    assert "Traceback" not in done.stdout


def test_where_python_compiles_text_and_where_the_error_is_another(sent):
    """In exec() Python makes the exit code the signal's; an import may make it any error."""
    code = "from sweeps.cli.interruption import heeded\nwith heeded():\n    {}"
    for text in (
        'exec("import secrets")',
        "try:\n        import secrets\n    except KeyboardInterrupt:\n        raise RecursionError",
    ):
        done = sent(["-c", code.format(text)], signal.SIGINT, "secrets")
        assert (done.returncode, done.stderr) == (130, LINE)


def test_under_nohup_a_closed_terminal_ends_nothing(sent):
    done = sent(RUN, signal.SIGHUP, "torch", ignored=(signal.SIGHUP,))
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 trial" in done.stdout


def test_a_terminal_that_is_closed(tmp_path):
    """What is finished is written, the run is closed, and the same command goes on from there."""
    words = ["run", "data.n=8", "model.width=16", "train.steps=1500", "train.loss_tol=0"]
    words += ["diagnostics.every=100", "cluster=inline", "pack=1", "seed=range(0,40)"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        command = [sys.executable, "-m", "sweeps", *words]
        os.execve(command[0], command, ENV | {"TERM": "xterm"})  # noqa: S606
    said = b""
    while b"[1/40]" not in said:
        said += os.read(terminal, 4096)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    parents, _ = runs(client(tmp_path / "outputs"))
    assert [run.info.status for run in parents] == ["KILLED"]
    done = inside(*words[:-1], "seed=0", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 finished before, 0 to train" in done.stdout or "nothing to do" in done.stdout
