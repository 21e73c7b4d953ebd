"""A sweep's own Ray: on loopback only, protected by a token, and ended with its terminal."""

import contextlib
import ipaddress
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import unquote

import pytest
from command import ENV, ROOT, client, inside, runs, sweeps
from services import Service, alive, end, tree, until

from sweeps.config.request import request
from sweeps.errors import ConfigError
from sweeps.execution import local_ray
from sweeps.execution.events import Done
from sweeps.execution.worker import run_pack
from sweeps.planning.plan import trials_of

pytestmark = pytest.mark.services

SLOW = """import time
from pathlib import Path

import torch

import deq

MARK = Path(__file__).with_name("mark")


def tanh(x):
    if MARK.exists():
        time.sleep(0.03)
    return torch.tanh(x)


def slope(x):
    return 1 - torch.tanh(x) ** 2


curve = deq.Activation("curve", tanh, slope, 1.0, 0.7698003589195009, 0.0, True)
"""
WORDS = ["data.n=8", "model.width=16", "model.activation=slow:curve", "train.steps=150"]
WORDS += ["train.loss_tol=0", "seed=range(0,3)", "checkpoint.every_seconds=0.2"]
SHELLS = "5e11" * 16


# Runs before a process's own code. When MLflow is about to be imported, it waits for Ray's
# first process, prints whether that runs and sends SIGINT. No import is locked meanwhile.
SENDS = """import builtins
import os
import signal
import subprocess
import time

usual = builtins.__import__


def slow(name, *rest, **named):
    if name.partition(".")[0] == "mlflow":
        builtins.__import__ = usual
        end = time.monotonic() + 60
        looks = ["pgrep", "-P", str(os.getpid()), "gcs_server"]
        while subprocess.call(looks, stdout=subprocess.DEVNULL) and time.monotonic() < end:
            time.sleep(0.1)
        print("Ray runs" if time.monotonic() < end else "no Ray", flush=True)
        os.kill(os.getpid(), signal.SIGINT)
    return usual(name, *rest, **named)


builtins.__import__ = slow
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder whose name is no plain word, with an activation that can be slowed down."""
    folder = tmp_path / "ray root é"
    folder.mkdir()
    (folder / "slow.py").write_text(SLOW)
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def hostile(tmp_path):
    """An environment with everything in the way."""
    long = tmp_path / ("x" * 130)
    long.mkdir()
    return {
        "RAY_ADDRESS": "127.0.0.1:9",
        "RAY_AUTH_MODE": "disabled",
        "RAY_AUTH_TOKEN": SHELLS,
        "OMP_NUM_THREADS": "7",
        "http_proxy": "http://127.0.0.1:9",
        "TMPDIR": str(long),
        "HOME": "/proc/1/nope",
    }


def test_nobody_else_reaches_it_and_a_closed_terminal_ends_it(place, hostile):
    words, mark = ["run", *WORDS], place / "mark"
    mark.touch()
    command = [sys.executable, "-m", "sweeps", *words]
    sweep = Service(command, cwd=place, env=ENV | hostile)
    left = []
    try:
        until(lambda: begun(place), 180, "a checkpoint")
        left = tree(sweep.process.pid)
        token = assert_closed(left)
        (scratch,) = Path("/tmp").glob(  # noqa: S108
            f"{local_ray.SCRATCH}{sweep.process.pid}-*"
        )
        assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
        assert_unsaid(token, place, scratch)
        for pid in left:
            os.kill(pid, signal.SIGHUP)
        assert sweep.process.wait(120) == 130
        until(lambda: not alive(left), 30, "Ray's processes ended")
    finally:
        end([sweep.process.pid, *left])
    log = sweep.log.read_text()
    assert "Traceback" not in log
    assert log.endswith("interrupted; run the same command to continue from here\n")
    assert not scratch.exists()
    (status,) = json.loads(inside("status", "--json", cwd=place).stdout)
    assert (status["state"], status["mlflow"]) == ("interrupted", "KILLED")
    mark.unlink()
    with tempfile.TemporaryDirectory() as home:
        env = {"HOME": home, "OMP_NUM_THREADS": "3"}
        done = sweeps(*words, "cluster=inline", cwd=place, full=True, **env)
        assert done.returncode == 0, done.stderr
        assert list(Path(home).iterdir()) == []
    assert (place / "outputs" / "matplotlib").is_dir()
    assert "goes on from step" in done.stdout
    assert_unsaid(token, place)
    assert_as_if_nothing_had_been(place)


def begun(place):
    """True if a trial trains and has a checkpoint."""
    return any(place.glob("outputs/checkpoints/*/step-*.npz"))


def assert_closed(pids):
    """Assert that all listen on loopback and refuse clients without the token; return the token."""
    ports = {}
    for name, address, port in listening(pids):
        assert address in ("127.0.0.1", "::ffff:127.0.0.1"), (name, address, port)
        ports.setdefault(name, []).append(port)
    (raylet,) = [pid for pid in pids if name_of(pid) == "raylet"]
    env = dict(
        line.split("=", 1)
        for line in Path(f"/proc/{raylet}/environ").read_text().split("\0")
        if "=" in line
    )
    token = env["RAY_AUTH_TOKEN"]
    assert token != SHELLS
    assert len(token) == 64
    (port,) = ports["gcs_server"]
    shells = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": SHELLS}
    assert answers(
        port, {}, {"RAY_AUTH_MODE": "disabled"}, shells, shells | {"RAY_AUTH_TOKEN": token}
    ) == [False, False, False, True]
    return token


def answers(port, *envs):
    """True for each environment in which the head at this port answers a client."""
    script = ROOT / "sweeps/execution/ray_head.py"
    command = [sys.executable, "-P", script, f"127.0.0.1:{port}"]
    plain = {k: v for k, v in ENV.items() if k != "HOME"} | {"HOME": "/proc/1/nope"}
    asked = [
        subprocess.Popen(
            command, env=plain | env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for env in envs
    ]
    outputs = [one.communicate(timeout=60)[0] for one in asked]
    return ["nodes" in (json.loads(text) if text else {}) for text in outputs]


def name_of(pid):
    """The program that a process runs; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/exe").resolve().name
    except OSError:
        return ""


def listening(pids):
    """Program, address and port of every TCP socket these processes listen on."""
    names = {}
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                names[str(link.readlink())] = name_of(pid)
            except OSError:  # closed meanwhile
                continue
    sockets = []
    for table, size in (("tcp", 4), ("tcp6", 16)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local_, _, state, *rest = line.split()
            name = names.get(f"socket:[{rest[5]}]")
            if state == "0A" and name:
                text, port = local_.split(":")
                sockets.append((name, address(bytes.fromhex(text), size), int(port, 16)))
    assert sockets
    return sockets


def address(raw, size):
    """An address as the kernel writes it, answers, for words of this machine's order."""
    words = [
        raw[i : i + 4][::-1] if sys.byteorder == "little" else raw[i : i + 4]
        for i in range(0, size, 4)
    ]
    parsed = ipaddress.ip_address(b"".join(words))
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


def assert_unsaid(token, *roots):
    """The token stands in no file below, and in no argument of any process."""
    for path in (p for root in roots for p in root.rglob("*") if p.is_file()):
        assert token.encode() not in path.read_bytes(), path
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert token.encode() not in line.read_bytes(), line
        except OSError:
            continue


def assert_as_if_nothing_had_been(place):
    """Every trial's trajectory is that of one which is trained alone, to the last bit."""
    _, ours = runs(client(place / "outputs"))
    assert len(ours) == 3
    trials = {str(t.plain["seed"]): t for t in trials_of(request(WORDS))}
    for run in ours:
        artifacts = Path(unquote(run.info.artifact_uri.removeprefix("file://")))
        (theirs,) = [
            m.record
            for m in run_pack([trials[run.data.params["seed"]].plain], "cpu", 1)
            if isinstance(m, Done)
        ]
        assert (artifacts / "trajectory.parquet").read_bytes() == theirs.parquet()


def test_ray_starts_while_mlflow_is_imported_and_ctrl_c_ends_both(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SENDS)
    env = ENV | {"PYTHONPATH": f"{tmp_path}:{ENV['PYTHONPATH']}"}
    command = [sys.executable, "-m", "sweeps", "run", *WORDS[:2], "train.steps=20"]
    sweep = Service(command, cwd=tmp_path, env=env)
    left = []
    try:
        until(lambda: "Ray" in sweep.log.read_text(), 90, "Ray's first process")
        left = tree(sweep.process.pid)
        assert sweep.process.wait(120) == 130
        until(lambda: not alive(left), 30, "Ray's processes ended")
    finally:
        end([sweep.process.pid, *left])
    log = sweep.log.read_text()
    assert "Ray runs" in log
    assert log.endswith("interrupted; run the same command to continue from here\n")
    assert "Traceback" not in log
    assert not list(local_ray._scratch_root().glob(f"{local_ray.SCRATCH}{sweep.process.pid}-*"))


def test_ray_starts_only_if_there_is_something_to_train_and_its_error_is_reported(
    tmp_path, monkeypatch
):
    """If the record says that nothing is to be trained, Ray does not start."""
    words = ["run", *WORDS[:2], "train.steps=20"]
    started = []

    @contextlib.contextmanager
    def own():
        started.append(threading.current_thread())
        raise ConfigError("this Ray does not start")
        yield

    monkeypatch.setattr(local_ray, "own", own)
    refused = inside(*words, cwd=tmp_path)
    assert (refused.returncode, refused.stderr) == (2, "sweeps: this Ray does not start\n")
    assert started == [threading.main_thread()]
    assert inside(*words, "cluster=inline", cwd=tmp_path).returncode == 0
    done = inside(*words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(started) == 1


def test_the_users_token_variables_are_restored(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/nowhere")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", local_ray.OF_SEVERAL)
    tokens = set()
    for _ in range(2):
        before = {name: os.environ.get(name) for name in names}
        with local_ray.closed():
            assert os.environ["RAY_AUTH_MODE"] == "token"
            assert "RAY_AUTH_TOKEN_PATH" not in os.environ
            assert local_ray.ray._private.services.get_node_ip_address() == "127.0.0.1"
            tokens.add(os.environ["RAY_AUTH_TOKEN"])
        assert {name: os.environ.get(name) for name in names} == before
    assert len(tokens) == 2
