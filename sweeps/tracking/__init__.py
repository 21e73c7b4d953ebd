"""Only this package imports MLflow: its client, the content of runs, the embedded store."""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A server that does not answer is given up within seconds; results wait in the ledger.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
