"""The embedded MLflow store: SQLite and artifacts under the output root, and its UI."""

import contextlib
import hashlib
import os
import socket
import sqlite3
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from sweeps.errors import ConfigError, TrackingError
from sweeps.storage.database import set_journal
from sweeps.storage.disk_errors import explained_errors
from sweeps.tracking import schema
from sweeps.tracking.server import check_home, silence

# Default address of `sweeps ui`.
UI = "http://127.0.0.1:5000"
# Most bytes of a folder's name; file systems allow 255, and a digest may be added.
_LONGEST = 180
# Advice if the database is damaged.
_DAMAGED = "move it and its -wal and -shm away; the same command makes a new one"


def path_of(output: Path) -> Path:
    """Return the path of the embedded store's database."""
    return output / "mlflow" / "mlflow.db"


def uri(output: Path) -> str:
    """Return the embedded store's address.

    Raises:
        ConfigError: the path has a character with another meaning in an address.
    """
    path = str(path_of(output).resolve())
    if "%" in path or "?" in path:
        raise ConfigError(
            f"paths.output={output}: MLflow's store cannot lie in a folder with % or ? in its "
            "path: choose another paths.output"
        )
    return f"sqlite:///{path}"


def exists(output: Path) -> bool:
    """Return whether the embedded store exists."""
    return path_of(output).exists()


@contextlib.contextmanager
def prepared(output: Path) -> Iterator[bool]:
    """Create or upgrade the store, and lock it while the block opens it.

    Yields:
        Whether the database's file was replaced.

    Raises:
        OutputRootError, DiskError: the folder or the file cannot be used.
        TrackingError: a version of MLflow that this one does not know wrote it.
    """
    path = path_of(output)
    with explained_errors(path, _DAMAGED):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name("store.lock")):
            replaced = schema.ensure(path.resolve())
            with contextlib.closing(sqlite3.connect(path)) as db:
                set_journal(db, path)
            relocate(output)
            yield replaced


def folder_name(study: str) -> str:
    """Return the name of a study's artifact folder; valid and unique for every study name."""
    name = urllib.parse.quote(study, "")
    if len(name) <= _LONGEST and name.strip("."):
        return name
    return f"{name[:_LONGEST].strip('.')}-{hashlib.sha256(study.encode()).hexdigest()[:16]}"


def check_servable(output: Path, port: int) -> None:
    """Check that the embedded store can be served on a port.

    Raises:
        TrackingError: there is no store, it cannot be used, or the port is in use.
    """
    if not exists(output):
        raise TrackingError(f"there is no record under {output}: launch one with `sweeps run`")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise TrackingError(
                f"port {port} is in use: choose another with --port PORT; printed links lead there "
                "with tracking.public_url=http://127.0.0.1:PORT"
            )
    check_home()
    silence()
    with prepared(output):
        pass


def serve(output: Path, port: int) -> int:
    """Serve the MLflow UI of the embedded store on loopback until interrupted.

    Returns:
        The server's exit code.
    """
    root, address = output / "mlflow", uri(output)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--backend-store-uri", address]
    command += ["--artifacts-destination", (root / "artifacts").resolve().as_uri()]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    quiet["PYTHONWARNINGS"] = "ignore"  # its own deprecation warnings hide the address
    with subprocess.Popen(command, env=os.environ | quiet) as server:
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            server.wait()
            return 0


def relocate(output: Path) -> None:
    """Update the addresses of artifacts, in case the output root was moved."""
    root = output / "mlflow"
    current = (root / "artifacts").resolve().as_uri()
    with sqlite3.connect(path_of(output)) as db:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            db.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, "  # noqa: S608
                f"instr({column}, '/mlflow/artifacts/') + length('/mlflow/artifacts')) "
                f"WHERE instr({column}, '/mlflow/artifacts/') > 0 AND {column} NOT LIKE ? || '/%'",
                (current, current),
            )
    db.close()
