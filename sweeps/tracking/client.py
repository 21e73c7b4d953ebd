"""MLflow's client for a store, and its errors as one line."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.errors import TrackingError
from sweeps.redaction import without_secrets
from sweeps.tracking import store


def open_client(uri: str, embedded: Path | None) -> Any:
    """Return the client of a store.

    Args:
        uri: the store's address.
        embedded: the output root of an embedded store, which is created or upgraded if
            necessary; None for a server.
    """
    from mlflow import MlflowClient

    if embedded is None:
        return MlflowClient(uri)
    with store.prepared(embedded) as replaced:
        client = MlflowClient(uri)
        if replaced:  # this process may still have the old file open
            client._tracking_client.store.engine.dispose()
        client.search_experiments(max_results=1)
    return client


class ErrorGuard:
    """Turns errors of MLflow's client into a TrackingError of one line."""

    def __init__(self, store_name: str) -> None:
        """Guard the requests to a store of this name."""
        self._store_name = store_name

    @contextlib.contextmanager
    def __call__(self, subject: str) -> Iterator[None]:
        """Raise TrackingError if the block fails; `subject` is what MLflow did not take."""
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, RequestException, SQLAlchemyError, ImportError, OSError) as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if isinstance(error, ImportError):
                why = f"its artifacts need a package that is not installed here: {why}"
            raise TrackingError(
                f"MLflow at {self._store_name} did not take {subject}: {without_secrets(why)}"
            ) from error


def context_tags() -> dict[str, str]:
    """Return the tags of user, source and git that MLflow's fluent API would set."""
    from mlflow.tracking.context.registry import resolve_tags

    return {str(key): without_secrets(str(value)) for key, value in resolve_tags().items()}
