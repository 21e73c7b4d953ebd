"""Reads records and sweeps back from MLflow, and writes how trials were reproduced."""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps.config.yaml_text import from_yaml
from sweeps.storage.record import Record, Trajectory
from sweeps.storage.step_metrics import is_summary
from sweeps.tracking import artifacts
from sweeps.tracking.runs import TRIALS, search
from sweeps.tracking.trial_runs import TrialRuns

HASH = re.compile("[0-9a-f]{64}")


def search_everywhere(client: Any, query: str) -> Iterator[Any]:
    """Yield the runs of a query in all experiments."""
    for experiment in client.search_experiments():
        yield from search(client, experiment.experiment_id, query)


def records_like(client: Any, prefix: str) -> list[Record]:
    """Return the finished trials, of any experiment, whose hash begins with a prefix."""
    query = f"tags.`sweeps.config_hash` LIKE '{prefix}%' and {TRIALS}"
    query += " and attributes.status = 'FINISHED'"
    runs = {run.data.tags["sweeps.config_hash"]: run for run in search_everywhere(client, query)}
    return [record_of(client, run) for run in runs.values()]


def sweeps_like(client: Any, trials: TrialRuns, prefix: str) -> dict[str, dict[str, str]]:
    """Return names of finished trials by hash, of each sweep whose name begins with a prefix."""
    sweeps: dict[str, dict[str, str]] = {}
    query = f"tags.`sweeps.kind` = 'sweep' and tags.`sweeps.sweep` LIKE '{prefix}%'"
    for run in search_everywhere(client, query):
        names = trial_names(client, run)
        finished = trials.finished_results(run.info.experiment_id, set(names))
        in_sweep = {digest: name for digest, name in names.items() if digest in finished}
        sweeps.setdefault(run.data.tags["sweeps.sweep"], {}).update(in_sweep)
    return sweeps


def trial_names(client: Any, run: Any) -> dict[str, str]:
    """Return the names of a sweep's trials by hash: of its first round and of later ones."""
    with tempfile.TemporaryDirectory() as folder:
        page = client.download_artifacts(run.info.run_id, "sweep.yaml", folder)
        first: dict[str, str] = from_yaml(Path(page).read_text(encoding="utf-8"))["trials"]
    names = dict(_by_hash(*item) for item in first.items())
    children = f"{TRIALS} and tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    for trial in search(client, run.info.experiment_id, children):
        tags = trial.data.tags
        names.setdefault(tags["sweeps.config_hash"], tags["mlflow.runName"])
    return names


def record_of(client: Any, run: Any) -> Record:
    """Return the record from which a trial's run was written."""
    with tempfile.TemporaryDirectory() as folder:
        for name in artifacts.FILES:
            client.download_artifacts(run.info.run_id, name, folder)
        config = from_yaml((Path(folder) / artifacts.CONFIG).read_text())
        trajectory = Trajectory((Path(folder) / artifacts.TRAJECTORY).read_bytes())
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
    """Write how a trial was reproduced, as a run of its own.

    Args:
        client: MLflow's client.
        context: tags of user, source and code.
        record: the trial.
        kind: identical, equal or different.
        text: the run's description.
        deviation: the largest relative deviation; infinity: no metric is written.

    Returns:
        The run's id; "" if MLflow has no run of the trial.
    """
    query = f"{TRIALS} and tags.`sweeps.config_hash` = '{record.config_hash}'"
    trial = next(search_everywhere(client, query), None)
    if trial is None:
        return ""
    tags = {
        "sweeps.kind": "reproduction",
        "sweeps.reproduces": trial.info.run_id,
        "sweeps.config_hash": record.config_hash,
        "sweeps.verdict": kind,
        "mlflow.runName": f"reproduction of {record.config_hash[:12]}: {kind}",
        "mlflow.note.content": text,
    }
    created = client.create_run(trial.info.experiment_id, tags=tags | context)
    run = str(created.info.run_id)
    if deviation < float("inf"):
        client.log_metric(run, "reproduce/deviation", deviation)
    client.set_terminated(run, "FINISHED")
    return run


def _by_hash(key: str, value: str) -> tuple[str, str]:
    """Return a trial's hash and name; pages of early versions have them the other way round."""
    return (key, value) if HASH.fullmatch(key) else (value, key)
