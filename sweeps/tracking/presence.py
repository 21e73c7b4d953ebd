"""Looks for a sweep in MLflow: its page, its trials' runs, their artifacts.

To list 10,000 runs takes MLflow half a minute. Whether all runs of a list exist is asked
instead: of the runs with these ids, is there one in the last place?
"""

import base64
import json
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.tracking import artifacts
from sweeps.tracking.stored import search_everywhere
from sweeps.tracking.trial_runs import (
    WITH_WEIGHTS,
    ended_as,
    has_files,
    is_deleted,
    on_disk,
    search,
)

# Run ids in one question: MLflow's parser of filters takes about 3,300 and no more.
ASKED = 2500
# So few runs are fetched, where some of them exist and some do not.
FETCHED = 500
# Files of a sweep's page: written when it begins, and when it ends.
BEGUN, ENDED = "sweep.yaml", "report.html"


@dataclass(frozen=True)
class PageRun:
    """The run of a sweep's page, as MLflow has it."""

    run_id: str
    status: str


class Presence:
    """Looks for what was sent; every method raises TrackingError when MLflow does not answer."""

    def __init__(
        self, client: Any, guard: Callable[[str], AbstractContextManager[None]], *, exclusive: bool
    ) -> None:
        """Ask this client.

        Args:
            client: MLflow's.
            guard: turns what the client raises into a TrackingError that says what failed.
            exclusive: whether this machine keeps the artifacts, where they are files.
        """
        self._client, self._guard, self._exclusive = client, guard, exclusive

    def pages(self, experiment: str) -> dict[str, PageRun]:
        """The pages of an experiment's sweeps, by the sweep's name."""
        with self._guard("a question"):
            return {
                run.data.tags.get("sweeps.sweep", ""): PageRun(run.info.run_id, run.info.status)
                for run in search(self._client, experiment, "tags.`sweeps.kind` = 'sweep'")
            }

    def is_page(self, experiment: str, run: str, sweep: str) -> bool:
        """Whether this run is the page of this sweep, in this experiment, and not deleted."""
        with self._guard("a question"):
            return at_least(self._client, experiment, _page(run, sweep), 1)

    def page_has_files(self, run: str, *, ended: bool) -> bool:
        """Whether a sweep's page holds its spec and, where it has ended, its report."""
        with self._guard("a question"):
            return has_files(self._client, run, [BEGUN, *([ENDED] if ended else [])])

    def restore_page(self, experiment: str, sweep: str, run: str) -> bool:
        """Bring a page that was deleted back from MLflow's bin; whether it lay there."""
        with self._guard("a sweep's page"):
            found = is_deleted(self._client, experiment, _page(run, sweep))
            if found:
                self._client.restore_run(run)
            return found

    def reparent_trials(self, experiment: str, sweep: str, page: str) -> None:
        """Nest the runs of a sweep's trials under its page, which was begun anew."""
        query = f"tags.`sweeps.sweep` = '{sweep}' and tags.`sweeps.kind` != 'sweep'"
        query += f" and tags.`mlflow.parentRunId` != '{page}'"
        with self._guard("a sweep's page"):
            for run in list(search(self._client, experiment, query)):
                self._client.set_tag(run.info.run_id, "mlflow.parentRunId", page)

    def missing_runs(self, experiment: str, runs: Sequence[str], *, stopped: bool) -> list[str]:
        """Find the trials' runs that are gone, or no longer say that they have ended.

        Args:
            experiment: where they were sent to.
            runs: run ids.
            stopped: whether they are of trials that were stopped early.
        """
        found: list[str] = []
        with self._guard("a question"):
            for i in range(0, len(runs), ASKED):
                part = runs[i : i + ASKED]
                found += _absent(self._client, experiment, part, ended_as(stopped=stopped))
        return found

    def with_weights(self, experiment: str) -> set[str]:
        """Config hashes of the finished trials of an experiment whose weights are there."""
        query = f"{WITH_WEIGHTS} and attributes.status = 'FINISHED'"
        with self._guard("a question"):
            found = search(self._client, experiment, query)
            return {run.data.tags["sweeps.config_hash"] for run in found}

    def weights(self, config_hash: str, folder: Path) -> Path | None:
        """A trial's weights from any experiment, downloaded to a folder; None without any."""
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
        """Find the trials' runs that lack artifacts; weights too where they were kept."""
        files = artifacts.files_of(weights=weights)
        with self._guard("a question"):
            location = self._client.get_experiment(experiment).artifact_location
            folder = on_disk(location) if self._exclusive else None
            if folder:
                return [
                    r for r in runs if not artifacts.are_in_folder(folder / r / "artifacts", files)
                ]
            return [run for run in runs if not has_files(self._client, run, files)]


def at_least(client: Any, experiment: str, query: str, count: int) -> bool:
    """Whether a query finds so many runs, of which one is fetched at most.

    The token of a page of MLflow's answers is an offset. That is a private part of MLflow,
    and a test says when it changes.
    """
    offset = json.dumps({"offset": count - 1}).encode()
    token = base64.b64encode(offset).decode() if count > 1 else None
    return bool(client.search_runs([experiment], query, max_results=1, page_token=token))


def _page(run: str, sweep: str) -> str:
    of_sweep = f"tags.`sweeps.kind` = 'sweep' and tags.`sweeps.sweep` = '{sweep}'"
    return f"{of_sweep} and attributes.run_id = '{run}'"


def _absent(client: Any, experiment: str, runs: Sequence[str], status: str) -> list[str]:
    """Runs without this status: found by halving the list, where some have it."""
    listed = ", ".join(f"'{run}'" for run in runs)
    query = f"attributes.status = '{status}' and attributes.run_id IN ({listed})"
    if at_least(client, experiment, query, len(runs)):
        return []
    if not at_least(client, experiment, query, 1):
        return list(runs)
    if len(runs) <= FETCHED:
        there = {run.info.run_id for run in search(client, experiment, query)}
        return [run for run in runs if run not in there]
    half = len(runs) // 2
    parts = (runs[:half], runs[half:])
    return [run for part in parts for run in _absent(client, experiment, part, status)]
