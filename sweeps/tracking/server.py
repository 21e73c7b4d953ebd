"""An MLflow server: whether it is there, and takes what a sweep will send."""

import logging
import socket
import urllib.parse
from pathlib import Path

from sweeps.config import TrackingConfig
from sweeps.errors import ConfigError, TrackingError
from sweeps.redaction import without_secrets


def check_server(config: TrackingConfig) -> None:
    """Refuse a server that is not named, does not answer, or will not have us.

    Raises:
        ConfigError: MLflow cannot be imported, for this user has no home folder.
        TrackingError: saying what to do instead.
    """
    check_home()
    if config.name == "local":
        return
    if not config.uri:
        raise TrackingError(
            "tracking=server needs a server: set tracking.uri=http://HOST:PORT "
            "or MLFLOW_TRACKING_URI"
        )
    _answers(config.uri)
    _serves(config.uri)


def check_home() -> None:
    """Refuse a user without a home folder, which MLflow asks for when it is imported.

    Raises:
        ConfigError: HOME is not set, and the system knows no home folder of this user.
    """
    try:
        Path.home()
    except RuntimeError as error:
        raise ConfigError(
            "this user has no home folder, and MLflow needs one: set HOME to a folder"
        ) from error


def _answers(uri: str) -> None:
    """Raise unless a server answers at this address within seconds."""
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


def _serves(uri: str) -> None:
    """Raise unless the MLflow API takes a request; /health says yes even where it will not."""
    hush()
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


def hush() -> None:
    """Silence what libraries log: it is of no use to a sweep's user; their errors are raised."""
    for name in ("mlflow", "mlflow.store.db.utils", "alembic", "urllib3", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def load() -> None:
    """Import of MLflow what a sweep uses, which takes seconds: so it may be done ahead."""
    hush()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
