"""A Ray on this machine that a sweep starts and ends, and that nobody else can reach.

A user who can connect to a Ray can run code as the user who started it. So this Ray listens on
loopback only, and requires a token that only its own processes have.
"""

import atexit
import contextlib
import gc
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import ray
from ray import _raylet
from ray._private import ray_constants

from sweeps.execution.abandoned import any_waits

SCRATCH = "sweeps-ray-"
# Ray's folder. Ray makes it readable for all users; its parent is private to this user.
INNER = "r"
# Ray's longest socket path under a temporary folder, and the bytes that such a path may have.
SOCKET = f"{SCRATCH}{{pid}}-12345678/{INNER}"
SOCKET += "/session_2026-01-01_00-00-00_000000_{pid}/sockets/plasma_store"
LONGEST = 103 if sys.platform == "darwin" else 107
# Whether Ray may span several machines; if not, it listens on loopback only, as Ray does by
# default on macOS and Windows.
OF_SEVERAL = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 - a name
# Holds the user's own token meanwhile, so that it is still masked in all records.
SHELL_TOKEN = "SWEEPS_SHELL_TOKEN"  # noqa: S105 - a name


@contextlib.contextmanager
def own() -> Iterator[None]:
    """Start a Ray and connect to it; it ends with the block."""
    sweep_up()
    # Ray's sockets need a short path, so its own files cannot lie under the output root.
    scratch = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-", dir=_scratch_root()))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)  # after Ray's own, as it began
    try:
        with closed():
            try:
                with own_signals():
                    ray.init(
                        address="local",
                        include_dashboard=False,
                        log_to_driver=False,
                        logging_level=logging.ERROR,
                        _temp_dir=str(scratch / INNER),
                    )
                yield
            finally:
                leave()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def closed() -> Iterator[None]:
    """Make a Ray that is started in this block listen on loopback and require a new token.

    The user's own settings, also `RAY_AUTH_MODE=disabled`, are meant for clusters; they are
    restored after the block. The token is only in the environment of this process and of Ray's
    processes.
    """
    ours = {"RAY_AUTH_MODE": "token", TOKEN: secrets.token_hex(32), OF_SEVERAL: "0"}
    kept = {name: os.environ.pop(name, None) for name in (*ours, "RAY_AUTH_TOKEN_PATH")}
    of_several = ray_constants.ENABLE_RAY_CLUSTER
    os.environ.update(ours)
    if users := kept[TOKEN]:
        os.environ[SHELL_TOKEN] = users
    ray_constants.ENABLE_RAY_CLUSTER = False
    _read_again()
    try:
        yield
    finally:
        os.environ.pop(SHELL_TOKEN, None)
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        ray_constants.ENABLE_RAY_CLUSTER = of_several
        _read_again()


def _read_again() -> None:
    """Make Ray's native part, which reads the environment only once, read it again."""
    _raylet.Config.initialize("")  # type: ignore[attr-defined]
    _raylet.AuthenticationTokenLoader.instance().reset_cache()  # type: ignore[attr-defined]


def _scratch_root() -> Path:
    """Return the folder for temporary files; /tmp if socket paths would be too long there."""
    given = Path(tempfile.gettempdir())
    longest = given / SOCKET.format(pid=os.getpid())
    return given if len(os.fsencode(longest)) <= LONGEST else Path("/tmp")  # noqa: S108


def sweep_up() -> None:
    """Remove the files that killed drivers left; the processes of their Rays end by themselves."""
    for left in _scratch_root().glob(f"{SCRATCH}*-*"):
        pid = left.name.removeprefix(SCRATCH).split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def own_signals() -> Iterator[None]:
    """Restore our SIGTERM handler after Ray has set its own, which ends the process at once.

    Processes that Ray starts in the block ignore SIGHUP. A closed terminal sends it to all
    processes, but the driver is to end them.
    """
    handler = signal.getsignal(signal.SIGTERM)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def leave() -> None:
    """Disconnect from Ray, after deleting the Ray objects that Tune left.

    If one of them were deleted later, in any thread, it would end the process. A Ray that a
    thread still waits for is not left: that thread would crash.
    """
    gc.collect()
    if not any_waits():
        ray.shutdown()
