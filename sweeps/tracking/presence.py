"""Checks what MLflow holds of a sweep: its page, its trials' runs, their artifacts.

MLflow takes half a minute to list 10,000 runs. To check that all runs of a list of N ids exist, it
is asked for the N-th of the runs with these ids only.
"""

import base64
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.tracking import artifacts
from sweeps.tracking.client import ErrorGuard
from sweeps.tracking.runs import TRIALS, final_status, has_files, is_deleted, on_disk, search
from sweeps.tracking.stored import search_everywhere

# Run ids in one query: MLflow's query parser takes about 3,300 at most.
ASKED = 2500
# A list of which some runs are missing is fetched if it is no longer than this, else halved.
FETCHED = 500
# File of a sweep's page that is written when the sweep begins.
BEGUN = "sweep.yaml"
# File of a sweep's page that is written when the sweep ends.
ENDED = "report.html"
WITH_WEIGHTS = f"{TRIALS} and tags.`sweeps.weights` = '{artifacts.WEIGHTS}'"


@dataclass(frozen=True)
class PageRun:
    """The run of a sweep's page in MLflow: its id and its status."""

    run_id: str
    status: str


class Presence:
    """Checks what MLflow holds; every method raises TrackingError if MLflow does not answer."""

    def __init__(self, client: Any, guard: ErrorGuard, *, exclusive: bool) -> None:
        """Use this client.

        Args:
            client: MLflow's client.
            guard: turns the client's errors into TrackingError.
            exclusive: whether the artifacts are files on this machine.
        """
        self._client, self._guard, self._exclusive = client, guard, exclusive

    def pages(self, experiment: str) -> dict[str, PageRun]:
        """Return the runs of an experiment's pages, by the sweep's name."""
        with self._guard("a question"):
            return {
                run.data.tags.get("sweeps.sweep", ""): PageRun(run.info.run_id, run.info.status)
                for run in search(self._client, experiment, "tags.`sweeps.kind` = 'sweep'")
            }

    def is_page(self, experiment: str, run: str, sweep: str) -> bool:
        """Return whether a run is the page of a sweep.

        Args:
            experiment: id of the experiment.
            run: id of the run.
            sweep: the sweep's name.
        """
        with self._guard("a question"):
            return at_least(self._client, experiment, _page(run, sweep), 1)

    def page_has_files(self, run: str, *, ended: bool) -> bool:
        """Return whether a sweep's page holds its spec and, if it has ended, its report."""
        with self._guard("a question"):
            return has_files(self._client, run, [BEGUN, *([ENDED] if ended else [])])

    def restore_page(self, experiment: str, sweep: str, run: str) -> bool:
        """Restore a deleted page from MLflow's trash.

        Args:
            experiment: id of the experiment.
            sweep: the sweep's name.
            run: id of the page's run.

        Returns:
            Whether the page was in the trash.
        """
        with self._guard("a sweep's page"):
            deleted = is_deleted(self._client, experiment, _page(run, sweep))
            if deleted:
                self._client.restore_run(run)
            return deleted

    def reparent_trials(self, experiment: str, sweep: str, page: str) -> None:
        """Make a page the parent of the runs of its sweep's trials.

        Args:
            experiment: id of the experiment.
            sweep: the sweep's name.
            page: id of the page's run.
        """
        query = f"tags.`sweeps.sweep` = '{sweep}' and tags.`sweeps.kind` != 'sweep'"
        query += f" and tags.`mlflow.parentRunId` != '{page}'"
        with self._guard("a sweep's page"):
            for run in list(search(self._client, experiment, query)):
                self._client.set_tag(run.info.run_id, "mlflow.parentRunId", page)

    def missing_runs(self, experiment: str, runs: Sequence[str], *, stopped: bool) -> list[str]:
        """Return the trials' runs that are gone, or no longer have their final status.

        Args:
            experiment: id of their experiment.
            runs: run ids.
            stopped: whether they are of trials that were stopped early.
        """
        missing: list[str] = []
        with self._guard("a question"):
            for i in range(0, len(runs), ASKED):
                part = runs[i : i + ASKED]
                missing += _missing(self._client, experiment, part, final_status(stopped=stopped))
        return missing

    def with_weights(self, experiment: str) -> set[str]:
        """Return config hashes of an experiment's finished trials that have weights."""
        query = f"{WITH_WEIGHTS} and attributes.status = 'FINISHED'"
        with self._guard("a question"):
            runs = search(self._client, experiment, query)
            return {run.data.tags["sweeps.config_hash"] for run in runs}

    def weights(self, config_hash: str, folder: Path) -> Path | None:
        """Download a trial's weights, from any experiment, to a folder; None if there are none."""
        query = f"{WITH_WEIGHTS} and tags.`sweeps.config_hash` = '{config_hash}'"
        with self._guard("a request for weights"):
            run = next(search_everywhere(self._client, query), None)
            if run is None:
                return None
            name = artifacts.WEIGHTS
            return Path(self._client.download_artifacts(run.info.run_id, name, str(folder)))

    def runs_without_files(
        self, experiment: str, runs: Collection[str], *, weights: bool = False
    ) -> list[str]:
        """Return the trials' runs that lack artifacts.

        Args:
            experiment: id of the experiment.
            runs: ids of the runs.
            weights: whether the runs must have weights too.
        """
        files = artifacts.files_of(weights=weights)
        with self._guard("a question"):
            location = self._client.get_experiment(experiment).artifact_location
            folder = on_disk(location) if self._exclusive else None
            if folder:
                return [r for r in runs if not artifacts.all_in(folder / r / "artifacts", files)]
            return [run for run in runs if not has_files(self._client, run, files)]


def at_least(client: Any, experiment: str, query: str, count: int) -> bool:
    """Return whether a query finds at least `count` runs; at most one of them is fetched.

    The page token of MLflow's answers is an offset. That is a private part of MLflow; a test
    fails if it changes.
    """
    offset = json.dumps({"offset": count - 1}).encode()
    token = base64.b64encode(offset).decode() if count > 1 else None
    return bool(client.search_runs([experiment], query, max_results=1, page_token=token))


def _page(run: str, sweep: str) -> str:
    of_sweep = f"tags.`sweeps.kind` = 'sweep' and tags.`sweeps.sweep` = '{sweep}'"
    return f"{of_sweep} and attributes.run_id = '{run}'"


def _missing(client: Any, experiment: str, runs: Sequence[str], status: str) -> list[str]:
    """Return the runs without this status, found by halving the list."""
    listed = ", ".join(f"'{run}'" for run in runs)
    query = f"attributes.status = '{status}' and attributes.run_id IN ({listed})"
    if at_least(client, experiment, query, len(runs)):
        return []
    if not at_least(client, experiment, query, 1):
        return list(runs)
    if len(runs) <= FETCHED:
        existing = {run.info.run_id for run in search(client, experiment, query)}
        return [run for run in runs if run not in existing]
    half = len(runs) // 2
    parts = (runs[:half], runs[half:])
    return [run for part in parts for run in _missing(client, experiment, part, status)]
