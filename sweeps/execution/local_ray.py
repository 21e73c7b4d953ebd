"""A Ray that a sweep starts on this machine and ends: nobody else reaches it.

Whoever may speak to a Ray runs code as its user. This one listens on loopback alone, and
asks whoever connects for a token that only its own processes hold.
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

SCRATCH = "sweeps-ray-"
# The folder that is given to Ray, which opens it to all: its parent is this user's alone.
INNER = "r"
# What Ray calls its longest socket under a temporary folder, and the bytes a socket's path has.
SOCKET = f"{SCRATCH}{{pid}}-12345678/{INNER}"
SOCKET += "/session_2026-01-01_00-00-00_000000_{pid}/sockets/plasma_store"
LONGEST = 103 if sys.platform == "darwin" else 107
# Whether Ray may be a cluster of several machines; if not, it listens on loopback alone. That
# is Ray's way on macOS and Windows.
OF_SEVERAL = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 - a name
# The user's own token meanwhile: it is not used, and masked in all that is recorded.
SHELL_TOKEN = "SWEEPS_SHELL_TOKEN"  # noqa: S105 - a name


@contextlib.contextmanager
def own() -> Iterator[None]:
    """Be connected to a Ray of one's own, which ends with the block."""
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
    """Let a Ray that is started in this block listen on loopback, and ask for a new token.

    The user's own settings, `RAY_AUTH_MODE=disabled` too, are for clusters. They are as they
    were after the block. The token is in the environment of this process and of Ray's, and
    nowhere else.
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
    """Have Ray's native part, which reads the environment once, read it again."""
    _raylet.Config.initialize("")  # type: ignore[attr-defined]
    _raylet.AuthenticationTokenLoader.instance().reset_cache()  # type: ignore[attr-defined]


def _scratch_root() -> Path:
    """The folder for temporary files, or /tmp where sockets would have too long a path there."""
    given = Path(tempfile.gettempdir())
    longest = given / SOCKET.format(pid=os.getpid())
    return given if len(os.fsencode(longest)) <= LONGEST else Path("/tmp")  # noqa: S108


def sweep_up() -> None:
    """Remove the files of Rays whose driver was killed; their processes end by themselves."""
    for left in _scratch_root().glob(f"{SCRATCH}*-*"):
        pid = left.name.removeprefix(SCRATCH).split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def own_signals() -> Iterator[None]:
    """Take SIGTERM back from Ray, whose handler ends the process on the spot.

    The processes that Ray starts in the block never get a SIGHUP: where a terminal is closed
    all get one, and it is the driver that ends them.
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
    """Disconnect; what Tune left of Ray's objects goes before Ray does.

    Collected later, in whatever thread, one of them would end the process.
    """
    gc.collect()
    ray.shutdown()
