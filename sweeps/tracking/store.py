"""The embedded MLflow store: SQLite and artifacts under the output root, and its UI."""

import hashlib
import os
import socket
import sqlite3
import subprocess
import sys
import urllib.parse
from pathlib import Path

from filelock import FileLock

from sweeps.errors import TrackingError

# Where `sweeps ui` serves it unless told otherwise.
UI = "http://127.0.0.1:5000"
# Of a name in a file system, in bytes, with room for what is added to it.
_LONGEST = 180


def uri(output: Path) -> str:
    """The embedded store's address."""
    return f"sqlite:///{(output / 'mlflow' / 'mlflow.db').resolve()}"


def exists(output: Path) -> bool:
    """Whether anything has been recorded there."""
    return (output / "mlflow" / "mlflow.db").exists()


def folder_name(study: str) -> str:
    """A study's folder of artifacts: one name, whatever the study's is."""
    name = urllib.parse.quote(study, "")
    if len(name) <= _LONGEST and name.strip("."):
        return name
    return f"{name[:_LONGEST].strip('.')}-{hashlib.sha256(study.encode()).hexdigest()[:16]}"


def check_servable(output: Path, port: int) -> None:
    """Refuse to serve a store that is not there, or on a port that is in use.

    Raises:
        TrackingError: it cannot be served.
    """
    if not exists(output):
        raise TrackingError(f"there is no record under {output}: launch one with `sweeps run`")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise TrackingError(f"port {port} is in use: choose another with --port")


def serve(output: Path, port: int) -> int:
    """Serve the MLflow UI on the embedded store, on loopback, until interrupted."""
    root = output / "mlflow"
    with FileLock(root / "store.lock"):
        relocate(output)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--backend-store-uri", uri(output)]
    command += ["--artifacts-destination", (root / "artifacts").resolve().as_uri()]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with subprocess.Popen(command, env=os.environ | quiet) as server:
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            server.wait()
            return 0


def write_ahead(output: Path) -> None:
    """Let the store keep a log of what is written: a commit waits once for the disk, not thrice.

    And who reads it, as the UI does, does not wait for who writes.
    """
    with sqlite3.connect(output / "mlflow" / "mlflow.db") as db:
        db.execute("PRAGMA journal_mode = WAL")
    db.close()


def relocate(output: Path) -> None:
    """Point artifact addresses at the root as it lies now, in case it was moved."""
    root = output / "mlflow"
    here = (root / "artifacts").resolve().as_uri()
    with sqlite3.connect(root / "mlflow.db") as db:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            db.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, "  # noqa: S608
                f"instr({column}, '/mlflow/artifacts/') + length('/mlflow/artifacts')) "
                f"WHERE instr({column}, '/mlflow/artifacts/') > 0 AND {column} NOT LIKE ? || '/%'",
                (here, here),
            )
    db.close()
