"""The door to MLflow: its client, what its runs hold, and the embedded store's files."""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A server that is away is noticed in seconds; the results wait in the ledger meanwhile.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
