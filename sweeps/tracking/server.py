"""Checks that an MLflow server answers and accepts requests."""

import logging
import socket
import urllib.parse
from pathlib import Path

from sweeps.config.launch import TrackingConfig
from sweeps.errors import ConfigError, TrackingError
from sweeps.redaction import without_secrets


def check_server(config: TrackingConfig) -> None:
    """Check that the tracking server, if one is configured, answers and accepts us.

    Raises:
        ConfigError: MLflow cannot be imported, since this user has no home folder.
        TrackingError: no server is named, or it does not answer or refuses us.
    """
    check_home()
    if config.name == "local":
        return
    if not config.uri:
        raise TrackingError(
            "tracking=server needs a server: set tracking.uri=http://HOST:PORT "
            "or MLFLOW_TRACKING_URI"
        )
    _check_connection(config.uri)
    _check_api(config.uri)


def tracker_name(config: TrackingConfig) -> str:
    """Return the name of an MLflow in the ledger: `local`, or its address without a password."""
    return "local" if config.name == "local" else without_secrets(config.uri)


def check_home() -> None:
    """Check that this user has a home folder, which MLflow needs when it is imported.

    Raises:
        ConfigError: HOME is not set, and the system has no home folder of this user.
    """
    try:
        Path.home()
    except RuntimeError as error:
        raise ConfigError(
            "this user has no home folder, and MLflow needs one: set HOME to a folder"
        ) from error


def _check_connection(uri: str) -> None:
    """Raise TrackingError unless a server answers at this address within seconds."""
    wrong = TrackingError(f"tracking.uri={without_secrets(uri)} is no http(s) address")
    try:
        parts = urllib.parse.urlsplit(uri)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise wrong from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise wrong
    try:
        socket.create_connection((parts.hostname, port), timeout=5).close()
    except OSError as error:
        raise TrackingError(
            f"tracking.uri={without_secrets(uri)} does not answer ({error}): "
            "start the server, or use tracking=local"
        ) from error


def _check_api(uri: str) -> None:
    """Raise TrackingError unless the MLflow API takes a request; /health is no proof of that."""
    silence()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        MlflowClient(uri).search_experiments(max_results=1)
    except (MlflowException, RequestException) as error:
        why = without_secrets(str(error).strip().splitlines()[0])
        raise TrackingError(
            f"tracking.uri={without_secrets(uri)} refuses the MLflow API ({why}): check the "
            "address, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the server's "
            "MLFLOW_SERVER_ALLOWED_HOSTS"
        ) from error


def silence() -> None:
    """Silence the log messages of libraries: they do not help the user, and errors are raised."""
    for name in ("mlflow", "mlflow.store.db.utils", "alembic", "urllib3", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def import_mlflow() -> None:
    """Import the parts of MLflow that a sweep uses, which takes seconds."""
    silence()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
