"""Sweeps' pages in MLflow: the parent runs, with their description, spec and lease."""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sweeps import __version__
from sweeps.config.yaml_text import to_yaml
from sweeps.storage.record import now
from sweeps.storage.step_metrics import Point
from sweeps.tracking import artifacts, lease
from sweeps.tracking.client import ErrorGuard, context_tags
from sweeps.tracking.presence import BEGUN, Presence
from sweeps.tracking.runs import delete_tag, drop_duplicates, log, search


class SweepPages:
    """Creates, updates and closes sweeps' pages.

    Every method raises TrackingError if MLflow does not take it.
    """

    def __init__(
        self, client: Any, guard: ErrorGuard, presence: Presence, lease_seconds: float | None
    ) -> None:
        """Write by this client.

        Args:
            client: MLflow's client.
            guard: turns the client's errors into TrackingError.
            presence: finds the runs of a sweep.
            lease_seconds: length of a lease; None: the store needs no leases, since only this
                process uses it.
        """
        self._client, self._guard, self._presence = client, guard, presence
        self._lease_seconds = lease_seconds
        # Runs of pages that were created again, by the run that they replace.
        self._replaced: dict[str, str] = {}

    def begin(self, experiment: str, sweep: str, spec: dict[str, Any], view: dict[str, Any]) -> str:
        """Find or create a sweep's page, and mark its run as RUNNING.

        Args:
            experiment: the experiment's id.
            sweep: the sweep's name.
            spec: content of `sweep.yaml`.
            view: state of the runs page that the sweep's links open, see `charts.trials_view`.

        Returns:
            The id of the page's run.
        """
        query = f"tags.`sweeps.kind` = 'sweep' and tags.`sweeps.sweep` = '{sweep}'"
        with self._guard("a sweep's page"):
            run = next(search(self._client, experiment, query), None)
            if run is None:
                run_id = self._create(experiment, sweep, spec, query)
            else:
                run_id = str(run.info.run_id)
                self._renew(run_id)
                self._client.update_run(run_id, status="RUNNING")
                delete_tag(self._client, run, artifacts.STOPPED_BY)
            # Written also for a page that is there: an earlier version's view may be outdated.
            tag = f"mlflow.sharedViewState.{sweep}"
            text = json.dumps(view, separators=(",", ":"))
            self._client.set_experiment_tag(experiment, tag, text)
            return run_id

    def _create(self, experiment: str, sweep: str, spec: dict[str, Any], query: str) -> str:
        tags = {"sweeps.kind": "sweep", "sweeps.sweep": sweep, "mlflow.runName": f"sweep {sweep}"}
        tags |= context_tags()
        if self._lease_seconds is not None:
            tags |= lease.tags(self._lease_seconds)
        run = str(self._client.create_run(experiment, tags=tags).info.run_id)
        drop_duplicates(self._client, experiment, query, run)
        try:
            self._log_spec(run, spec)
        except Exception:  # the artifact store may need a missing package: do not leave a RUNNING
            self._client.delete_run(run)
            raise
        return run

    def _log_spec(self, run: str, spec: dict[str, Any]) -> None:
        self._client.log_text(run, to_yaml(spec, ascii_only=False), BEGUN)

    def write_spec(self, run: str, spec: dict[str, Any]) -> None:
        """Write a page's `sweep.yaml` again."""
        with self._guard("a sweep's page"):
            self._log_spec(run, spec)

    def describe(self, run: str, text: str) -> None:
        """Replace the description of a sweep that runs."""
        with self._guard("a sweep's page"):
            self._client.set_tag(run, "mlflow.note.content", text)

    def replace(self, experiment: str, sweep: str, old: str, new: str) -> None:
        """Move a sweep's trials and its lease to the run of a page that was created again.

        Args:
            experiment: id of the experiment.
            sweep: the sweep's name.
            old: id of the run that is gone.
            new: id of the run that replaces it.
        """
        self._replaced[old] = new
        self._presence.reparent_trials(experiment, sweep, new)

    def end(
        self,
        run: str,
        status: str,
        description: str,
        metrics: list[Point],
        folder: Path,
        files: Collection[str],
        stopped_by: str = "",
    ) -> None:
        """Write the results of a sweep into its page, and close the page's run.

        Args:
            run: the page's run.
            status: the sweep's final status.
            description: Markdown text.
            metrics: the sweep's metrics; they get the present time.
            folder: folder that holds the report's files.
            files: names of these files.
            stopped_by: the person who stopped the sweep, if one did.
        """
        at = now()
        points = [dataclasses.replace(point, at=at) for point in metrics]
        tags = {"mlflow.note.content": description, "sweeps.version": __version__}
        tags |= {artifacts.STOPPED_BY: stopped_by} if stopped_by else {}
        with self._guard("a sweep's page"):
            log(self._client, run, points, tags=tags)
            for name in files:
                self._client.log_artifact(run, str(folder / name))
            self._client.set_terminated(run, status)
            if self._lease_seconds is not None:  # another machine may have closed it meanwhile
                lease.clear_closed_tag(self._client, run)

    def leased(self, run: str) -> contextlib.AbstractContextManager[object]:
        """Hold a lease on a page's run while the block runs, so that nobody else closes it.

        The embedded store needs none: the lock of the output root shows who works there.
        """
        if self._lease_seconds is None:
            return contextlib.nullcontext()
        return lease.Lease(functools.partial(self._renew_guarded, run), self._lease_seconds)

    def _renew_guarded(self, run: str) -> None:
        while run in self._replaced:
            run = self._replaced[run]
        with self._guard("a lease"):
            self._renew(run)

    def _renew(self, run: str) -> None:
        if self._lease_seconds is not None:
            lease.renew(self._client, run, self._lease_seconds)
