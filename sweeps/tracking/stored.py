"""Reads records of trials and the trials of sweeps back from MLflow; writes verdicts."""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.config.yaml_text import from_yaml
from sweeps.storage.record import Record, columns_of
from sweeps.storage.step_metrics import is_summary
from sweeps.tracking import artifacts
from sweeps.tracking.trial_runs import TRIALS, search

HASH = re.compile("[0-9a-f]{64}")


def search_everywhere(client: Any, query: str) -> Iterator[Any]:
    """Runs of every experiment."""
    for experiment in client.search_experiments():
        yield from search(client, experiment.experiment_id, query)


def trial_names(client: Any, run: Any) -> dict[str, str]:
    """The trials of a sweep's run, as it began and as its search went on; names by hash."""
    with tempfile.TemporaryDirectory() as folder:
        page = client.download_artifacts(run.info.run_id, "sweep.yaml", folder)
        begun: dict[str, str] = from_yaml(Path(page).read_text(encoding="utf-8"))["trials"]
    names = dict(_by_hash(*item) for item in begun.items())
    own = f"{TRIALS} and tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    for trial in search(client, run.info.experiment_id, own):
        tags = trial.data.tags
        names.setdefault(tags["sweeps.config_hash"], tags["mlflow.runName"])
    return names


def record_of(client: Any, run: Any) -> Record:
    """The record a trial's run was made from."""
    with tempfile.TemporaryDirectory() as folder:
        for name in artifacts.FILES:
            client.download_artifacts(run.info.run_id, name, folder)
        config = from_yaml((Path(folder) / artifacts.CONFIG).read_text())
        trajectory = columns_of((Path(folder) / artifacts.TRAJECTORY).read_bytes())
        environment = json.loads((Path(folder) / artifacts.ENVIRONMENT).read_text())
    tags = run.data.tags
    return Record(
        config_hash=tags["sweeps.config_hash"],
        cell_hash=tags["sweeps.cell_hash"],
        config=config,
        status=tags["sweeps.status"],
        reason=tags["sweeps.reason"],
        summary={k: v for k, v in run.data.metrics.items() if is_summary(k)},
        notes={},
        device=tags["sweeps.device"],
        started=run.info.start_time,
        finished=run.info.end_time,
        environment=environment,
        trajectory=trajectory,
    )


def write_comparison(
    client: Any, context: dict[str, str], record: Record, kind: str, text: str, deviation: float
) -> str:
    """A run of its own that says how a trial was reproduced; its id, empty without the trial."""
    query = f"{TRIALS} and tags.`sweeps.config_hash` = '{record.config_hash}'"
    found = next(search_everywhere(client, query), None)
    if found is None:
        return ""
    tags = {
        "sweeps.kind": "reproduction",
        "sweeps.reproduces": found.info.run_id,
        "sweeps.config_hash": record.config_hash,
        "sweeps.verdict": kind,
        "mlflow.runName": f"reproduction of {record.config_hash[:12]}: {kind}",
        "mlflow.note.content": text,
    }
    made = client.create_run(found.info.experiment_id, tags=tags | context)
    run = str(made.info.run_id)
    if deviation < float("inf"):
        client.log_metric(run, "reproduce/deviation", deviation)
    client.set_terminated(run, "FINISHED")
    return run


def _by_hash(key: str, value: str) -> tuple[str, str]:
    """A trial's hash and its name; pages of early versions hold the hash by the name."""
    return (key, value) if HASH.fullmatch(key) else (value, key)
