"""The runs of trials in MLflow: one for each config hash of an experiment."""

import tempfile
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeps import __version__
from sweeps.config.early_stopping import STOPPED_AT
from sweeps.storage.ledger import Result
from sweeps.storage.record import Columns, Record, columns_of
from sweeps.storage.step_metrics import Point, is_summary, points_of
from sweeps.tracking import artifacts
from sweeps.tracking.bulk import Bulk, NewRun
from sweeps.tracking.runs import (
    STOPPED_RUNS,
    TRIALS,
    RunRef,
    SweepPage,
    delete_tag,
    drop_duplicates,
    final_status,
    has_files,
    log,
    of_hash,
    on_disk,
    run_ref,
    search,
    search_pages,
)
from sweeps.tracking.trial_description import describe_trial

# Up to this number of trials, each is looked up by a search of its own.
FEW = 50
# Up to this number too, if the runs of the experiment do not fit on one page.
SOME = 500


class TrialRuns:
    """Looks up and writes the runs of trials.

    Results of look-ups are cached if only this process writes to the store: a search takes
    longer the more runs there are.
    """

    def __init__(self, client: Any, context: dict[str, str], *, exclusive: bool) -> None:
        """Write by this client.

        Args:
            client: MLflow's client.
            context: tags of user, source and code, for every run.
            exclusive: whether only this process writes to the store.
        """
        self._client, self._context, self._exclusive = client, context, exclusive
        self._cache: dict[tuple[str, str], RunRef | None] = {}

    def finished_results(self, experiment: str, hashes: Collection[str]) -> dict[str, Result]:
        """Return the results of these trials that have a finished run, by config hash."""
        results: dict[str, Result] = {}
        self._cache |= {(experiment, digest): None for digest in hashes}
        for run in self._candidate_runs(experiment, hashes):
            digest = run.data.tags.get("sweeps.config_hash", "")
            if digest in hashes:
                ref = run_ref(run)
                if ref.finished:
                    results[digest] = _result(run)
                if ref.finished or digest not in results:
                    self._cache[experiment, digest] = ref
        return results

    def _candidate_runs(self, experiment: str, hashes: Collection[str]) -> Iterator[Any]:
        """Yield runs of trials, among them all runs of these hashes, in the cheapest way.

        A page of runs costs as much as many single searches.
        """
        if len(hashes) > FEW:
            for page in search_pages(self._client, experiment, TRIALS):
                yield from page
                if page.token and len(hashes) <= SOME:
                    break
            else:
                return
        for digest in hashes:
            yield from search(self._client, experiment, of_hash(digest))

    def trajectory(self, experiment: str, config_hash: str) -> Columns | None:
        """Return the trajectory of a finished trial from its artifacts; None if there is none."""
        query = f"{of_hash(config_hash)} and attributes.status = 'FINISHED'"
        for run in search(self._client, experiment, query):
            with tempfile.TemporaryDirectory() as folder:
                name = artifacts.TRAJECTORY
                self._client.download_artifacts(run.info.run_id, name, folder)
                return columns_of((Path(folder) / name).read_bytes())
        return None

    def discard(self, experiment: str, hashes: Collection[str]) -> None:
        """Delete the runs of these trials; MLflow keeps them in its trash."""
        for query in (TRIALS, STOPPED_RUNS):
            # Listed first: MLflow's next page begins at an offset, which each deletion moves.
            for run in list(search(self._client, experiment, query)):
                if run.data.tags.get("sweeps.config_hash") in hashes:
                    self._client.delete_run(run.info.run_id)
        self._cache |= {(experiment, digest): None for digest in hashes}

    def send(
        self,
        page: SweepPage,
        name: str,
        record: Record,
        figure: bytes,
        weights: Path | None,
        bulk: Bulk | None = None,
    ) -> str:
        """Write a finished trial's run, or finish the run that was begun for this record.

        Args:
            page: the page of its sweep.
            name: the trial's name.
            record: the result.
            figure: its figure (PNG); drawn now if it is empty.
            weights: file of its weights, if they were kept.
            bulk: collects the rows of a new run; None: they are written now.

        Returns:
            The run's id.
        """
        run = self._existing_run(page.experiment, record, weights)
        tags = _tags(page, name, record, weights)
        if run is None and bulk is not None:
            return self._collect(bulk, record, figure, weights, tags)
        if run is None:
            run, tags = self.create(page.experiment, record.started, tags), {}
        if not run.finished:
            self._write(run, record, figure, weights, tags)
        if not self._exclusive:
            drop_duplicates(self._client, page.experiment, _of(record), run.run_id)
        return run.run_id

    def remember(self, experiment: str, config_hash: str, run: RunRef) -> None:
        """Make `send` continue with this run when the trial has its result.

        Args:
            experiment: id of the experiment.
            config_hash: the trial.
            run: the run that was begun while it trained.
        """
        self._cache[experiment, config_hash] = run

    def create(self, experiment: str, started: int, tags: dict[str, str]) -> RunRef:
        """Create a run of a trial.

        Args:
            experiment: id of the experiment.
            started: its start time, in milliseconds since the epoch.
            tags: its tags, besides those of user, source and code.
        """
        return run_ref(self._client.create_run(experiment, started, tags=self._context | tags))

    def _existing_run(self, experiment: str, record: Record, weights: Path | None) -> RunRef | None:
        """Return the run to continue with: a complete one, or one with points of this record.

        A run with another driver's result of this trial has points of other times. If it is
        incomplete, it is deleted. Should that driver go on sending, it fails.
        """
        runs = self._look_up(experiment, record) + self._begun(experiment, record)
        complete = [run for run in runs if run.finished and self._is_complete(run, weights)]
        if complete:
            return complete[0]
        ours = [run for run in runs if run.started == record.started]
        for run in runs:
            if run not in ours[:1]:
                self._client.delete_run(run.run_id)
        return replace(ours[0], finished=False) if ours else None

    def _begun(self, experiment: str, record: Record) -> list[RunRef]:
        """Return the run that was begun while a trial trained that was then stopped early."""
        if not record.stopped_in:
            return []
        refs = map(run_ref, search(self._client, experiment, of_hash(record.config_hash)))
        return [ref for ref in refs if not ref.finished and ref.started == record.started]

    def _look_up(self, experiment: str, record: Record) -> list[RunRef]:
        known_run = (experiment, record.config_hash)
        if self._exclusive and not record.stopped_in and known_run in self._cache:
            # Removed from the cache, so that a failure now leads to a new search.
            ref = self._cache.pop(known_run)
            return [ref] if ref else []
        return [run_ref(run) for run in search(self._client, experiment, _of(record))]

    def _is_complete(self, run: RunRef, weights: Path | None) -> bool:
        """Return whether a run has all artifacts."""
        files = artifacts.files_of(weights=weights is not None)
        if self._exclusive and (folder := on_disk(run.folder)):
            return artifacts.all_in(folder, files)
        return has_files(self._client, run.run_id, files)

    def _collect(
        self,
        bulk: Bulk,
        record: Record,
        figure: bytes,
        weights: Path | None,
        tags: dict[str, str],
    ) -> str:
        """Write the artifacts of a new run, and leave its rows to `bulk`; return its id."""
        run = NewRun(
            location=bulk.location,
            status=final_status(stopped=bool(record.stopped_in)),
            started=record.started,
            finished=record.finished,
            tags=self._context | tags,
            config=record.config,
            points=_points(record),
        )
        ref = RunRef(run.run_id, run.folder, finished=True, started=record.started)
        self._write_artifacts(ref, record, figure, weights)
        bulk.add(run)
        return run.run_id

    def _write(
        self,
        run: RunRef,
        record: Record,
        figure: bytes,
        weights: Path | None,
        tags: dict[str, str],
    ) -> None:
        """Write the whole content of a trial's run; writing it again changes nothing."""
        if run.stopped_by:  # as it was when it was last read
            delete_tag(self._client, self._client.get_run(run.run_id), artifacts.STOPPED_BY)
        log(self._client, run.run_id, _points(record), record.config, tags)
        self._write_artifacts(run, record, figure, weights)
        status = final_status(stopped=bool(record.stopped_in))
        self._client.set_terminated(run.run_id, status, record.finished)

    def _write_artifacts(
        self, run: RunRef, record: Record, figure: bytes, weights: Path | None
    ) -> None:
        """Write artifacts, directly into the run's folder if it is on this machine."""
        if self._exclusive and (folder := on_disk(run.folder)):
            folder.mkdir(parents=True, exist_ok=True)
            artifacts.write_artifacts(record, folder, figure, weights)
            return
        with tempfile.TemporaryDirectory() as temporary:
            artifacts.write_artifacts(record, Path(temporary), figure, weights)
            try:
                self._client.log_artifacts(run.run_id, temporary)
            except Exception:  # the artifact store may need a missing package
                self._client.set_terminated(run.run_id, "KILLED")  # not left RUNNING
                raise


def _of(record: Record) -> str:
    """Return the query for a record's runs; a slow server may have created several."""
    if not record.stopped_in:
        return of_hash(record.config_hash)
    of_sweep = f"{STOPPED_RUNS} and tags.`sweeps.sweep` = '{record.stopped_in}'"
    return f"{of_sweep} and tags.`sweeps.config_hash` = '{record.config_hash}'"


def _points(record: Record) -> list[Point]:
    """Return the points of a record: its summary, its step metrics, the use of its machine."""
    summary = sorted(record.summary.items())
    return [Point(key, value, 0, record.started) for key, value in summary] + points_of(record)


def _result(run: Any) -> Result:
    summary = {k: v for k, v in run.data.metrics.items() if is_summary(k)}
    return Result(run.data.tags["sweeps.status"], summary)


def _tags(page: SweepPage, name: str, record: Record, weights: Path | None) -> dict[str, str]:
    # The code that trained the trial, which need not be this code: it may come from an archive.
    commit = record.environment.get("code", {}).get("commit")
    version = record.environment.get("packages", {}).get("deq-sweeps")
    tags = {
        "mlflow.parentRunId": page.run,
        "mlflow.runName": name,
        "sweeps.kind": "stopped" if record.stopped_in else "trial",
        "sweeps.config_hash": record.config_hash,
        "sweeps.cell_hash": record.cell_hash,
        "sweeps.sweep": page.sweep,
        "sweeps.status": record.status,
        "sweeps.reason": record.reason,
        "sweeps.version": version or __version__,
        "sweeps.device": record.device,
        "mlflow.note.content": describe_trial(record),
    }
    if commit:
        tags["mlflow.source.git.commit"] = commit
    if weights:
        tags["sweeps.weights"] = artifacts.WEIGHTS
    if record.stopped_in:
        step = int(record.summary[STOPPED_AT])
        tags |= {"sweeps.early_stopped": "true", "sweeps.early_stopped_step": str(step)}
    return tags
