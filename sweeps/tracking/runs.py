"""Runs in MLflow: search, write, delete."""

import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.config.nested import flatten
from sweeps.storage.step_metrics import Point
from sweeps.tracking import artifacts

BATCH = 1000  # metrics and params that MLflow takes in one request
TRIALS = "tags.`sweeps.kind` = 'trial'"
# Runs of trials that a sweep stopped early: they are no results of their configuration.
STOPPED_RUNS = "tags.`sweeps.kind` = 'stopped'"


@dataclass(frozen=True)
class SweepPage:
    """A sweep's page: the ids of its experiment and run, and the sweep's name."""

    experiment: str
    run: str
    sweep: str


@dataclass(frozen=True)
class RunRef:
    """A run of a trial.

    Attributes:
        run_id: its id.
        folder: address of its artifacts.
        finished: whether it holds the whole result.
        started: its start time, in milliseconds since the epoch.
        stopped_by: whether it has the tag that says who stopped the trial.
    """

    run_id: str
    folder: str
    finished: bool
    started: int
    stopped_by: bool = False


def run_ref(run: Any) -> RunRef:
    """Return the reference to a run of MLflow's client."""
    info, kind = run.info, run.data.tags.get("sweeps.kind")
    finished = info.status == final_status(stopped=kind == "stopped")
    stopped = artifacts.STOPPED_BY in run.data.tags
    return RunRef(str(info.run_id), info.artifact_uri, finished, info.start_time, stopped)


def final_status(*, stopped: bool) -> str:
    """Return the status of a trial's run that holds the whole result.

    Args:
        stopped: whether the trial was stopped early.
    """
    return "KILLED" if stopped else "FINISHED"


def of_hash(digest: str) -> str:
    """Return the query for a trial's runs."""
    return f"{TRIALS} and tags.`sweeps.config_hash` = '{digest}'"


def search(client: Any, experiment: str, query: str) -> Iterator[Any]:
    """Yield the runs that a query finds in an experiment.

    Args:
        client: MLflow's client.
        experiment: id of the experiment.
        query: MLflow's filter.
    """
    for page in search_pages(client, experiment, query):
        yield from page


def search_pages(client: Any, experiment: str, query: str) -> Iterator[Any]:
    """Yield the runs of `search` in lists, as many at a time as MLflow returns."""
    token = None
    while True:
        page = client.search_runs([experiment], query, page_token=token)
        yield page
        token = page.token
        if not token:
            return


def is_deleted(client: Any, experiment: str, query: str) -> bool:
    """Return whether a query finds a run in MLflow's trash."""
    from mlflow.entities import ViewType

    return bool(client.search_runs([experiment], query, ViewType.DELETED_ONLY, max_results=1))


def drop_duplicates(client: Any, experiment: str, query: str, run: str) -> None:
    """Delete the runs of a query except one.

    MLflow's client repeats a request that a server answers too slowly, and the server then
    creates a second run.

    Args:
        client: MLflow's client.
        experiment: id of the experiment.
        query: MLflow's filter.
        run: id of the run that stays.
    """
    for other in list(search(client, experiment, query)):
        if other.info.run_id != run:
            client.delete_run(other.info.run_id)


def delete_tag(client: Any, run: Any, tag: str) -> None:
    """Delete a tag of a run, if it has the tag."""
    if tag in run.data.tags:
        client.delete_tag(run.info.run_id, tag)


def log(
    client: Any,
    run: str,
    points: Sequence[Point],
    config: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    """Write metrics, params and tags of a run, in as few requests as MLflow allows.

    Args:
        client: MLflow's client.
        run: id of the run.
        points: the metrics.
        config: its values become params.
        tags: the tags.
    """
    from mlflow.entities import Metric, Param, RunTag

    metrics = [Metric(p.key, p.value, p.at, p.step) for p in points]
    params = [Param(key, str(value)) for key, value in flatten(config or {}).items()]
    run_tags = [RunTag(key, value) for key, value in (tags or {}).items()]
    first = BATCH - len(params) - len(run_tags)
    client.log_batch(run, metrics=metrics[:first], params=params, tags=run_tags)
    for i in range(first, len(metrics), BATCH):
        client.log_batch(run, metrics=metrics[i : i + BATCH])


def has_files(client: Any, run: str, names: Collection[str]) -> bool:
    """Return whether a run has artifacts of these names."""
    return {file.path for file in client.list_artifacts(run)}.issuperset(names)


def on_disk(location: str) -> Path | None:
    """Return the folder of a `file:` address; None for any other address."""
    url = urllib.parse.urlsplit(location)
    return Path(urllib.request.url2pathname(url.path)) if url.scheme == "file" else None
