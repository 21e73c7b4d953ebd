"""Ctrl-C, SIGTERM and a closed terminal: one line and exit code 130 at any moment."""

import os
import pty
import signal
import subprocess
import sys
import threading

import pytest
from command import ENV, SMALL, client, inside, runs

from sweeps.config.launch import ClusterConfig
from sweeps.execution import abandoned, tune
from sweeps.execution.settings import WorkerSettings

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
    """Run a command and send it a signal at an import; `ignored` signals are ignored before."""
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
LINE = "sweeps: interrupted; run the same command to continue from here\n"


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
def test_a_signal_during_an_import(sent, number, at):
    done = sent(RUN, number, at)
    # Click ends the line in which a terminal shows ^C.
    assert (done.returncode, done.stderr.lstrip("\n")) == (130, LINE)
    assert "Traceback" not in done.stdout


def test_a_signal_in_exec_and_one_that_becomes_another_error(sent):
    """After exec() Python would exit by the signal; an import may turn it into any error."""
    code = "from sweeps.cli.signals import handling_signals\nwith handling_signals():\n    {}"
    for text in (
        'exec("import secrets")',
        "try:\n        import secrets\n    except KeyboardInterrupt:\n        raise RecursionError",
    ):
        done = sent(["-c", code.format(text)], signal.SIGINT, "secrets")
        assert (done.returncode, done.stderr) == (130, LINE)


# A signal that arrives where Python drops the exception that its handler raises.
DROPPED = """import os, signal, time, weakref
from sweeps.cli.signals import handling_signals

class Thing:
    pass

def signal_here(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)

with handling_signals():
    thing = Thing()
    {}
    del thing
    time.sleep(30)
    print("went on")
"""


@pytest.mark.parametrize(
    "where",
    ["reference = weakref.ref(thing, signal_here)", "Thing.__del__ = signal_here"],
    ids=["weak reference", "__del__"],
)
def test_a_signal_whose_exception_python_drops(sent, where):
    done = sent(["-c", DROPPED.format(where)], signal.SIGTERM, "nothing")
    assert (done.returncode, done.stderr, done.stdout) == (130, LINE, "")


def test_a_signal_after_the_command_has_ended_changes_nothing(sent):
    """It cuts off nothing that the process does at its end, such as closing Ray."""
    code = "import atexit, os, time\nfrom sweeps.cli.signals import handling_signals\n"
    code += "atexit.register(lambda: (os.kill(os.getpid(), 15), time.sleep(0.1), print('closed')))"
    code += "\nwith handling_signals():\n    print('done')"
    done = sent(["-c", code], signal.SIGTERM, "nothing")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "done\nclosed\n")


def test_another_dropped_exception_is_printed(sent):
    code = "from sweeps.cli.signals import handling_signals\n"
    code += "class Thing:\n    def __del__(self):\n        raise ValueError('mine')\n"
    code += "with handling_signals():\n    Thing()"
    done = sent(["-c", code], signal.SIGTERM, "nothing")
    assert done.returncode == 0
    assert "ValueError: mine" in done.stderr


def test_under_nohup_a_closed_terminal_is_ignored(sent):
    done = sent(RUN, signal.SIGHUP, "torch", ignored=(signal.SIGHUP,))
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 trial" in done.stdout


def test_a_closed_terminal_ends_a_sweep_in_good_order(tmp_path, slow):
    """Results are written, the run is closed, and the same command continues from there."""
    words = ["run", *SMALL, "train.loss_tol=0", "cluster=inline", "pack=1", "seed=range(0,40)"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        command = [sys.executable, "-m", "sweeps", *words]
        os.execve(command[0], command, ENV | slow | {"TERM": "xterm"})  # noqa: S606
    output = b""
    while b"[1/40]" not in output:
        output += os.read(terminal, 4096)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    parents, _ = runs(client(tmp_path / "outputs"))
    assert [run.info.status for run in parents] == ["KILLED"]
    done = inside(*words[:-1], "seed=0", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 finished before, 0 to train" in done.stdout or "nothing to do" in done.stdout


def test_a_driver_does_not_wait_for_a_tune_whose_cluster_dies_a_moment_later(monkeypatch, tmp_path):
    """A signal to a whole job ends the driver and its cluster at once."""
    ended, looks = threading.Event(), iter([True, True, False])
    monkeypatch.setattr(tune, "GRACE", 1e6)
    monkeypatch.setattr(tune, "answers", lambda: next(looks))
    thread = threading.Thread(target=ended.wait)
    thread.start()
    waiting = tune.Tune(ClusterConfig(), tmp_path, None, WorkerSettings("cpu", 1, None))
    waiting._running = thread, tune.Stop()
    waiting.end()
    assert not list(looks)
    assert abandoned.any_waits()
    ended.set()
    thread.join()
    assert not abandoned.any_waits()


def test_a_thread_inside_a_dead_ray_is_not_met_again_when_the_process_ends(tmp_path):
    """Neither Ray nor the interpreter is closed, which would crash; the exit code is kept."""
    code = """import atexit, threading
from sweeps.cli import main
from sweeps.execution.abandoned import abandon
thread = threading.Thread(target=threading.Event().wait, daemon=True)
thread.start()
abandon(thread)
atexit.register(print, "closed")
main()"""
    words = [sys.executable, "-c", code, "show", "no_such_key=1"]
    done = subprocess.run(words, cwd=tmp_path, env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "no_such_key" in done.stderr
    assert "closed" not in done.stdout
