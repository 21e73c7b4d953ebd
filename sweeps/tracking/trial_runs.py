"""The runs of trials in MLflow: one for each config hash of an experiment."""

import tempfile
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeps import __version__
from sweeps.config.early_stopping import STOPPED_AT
from sweeps.config.nested import flatten
from sweeps.storage.ledger import Result
from sweeps.storage.record import Columns, Record, columns_of
from sweeps.storage.step_metrics import Point, is_summary, points_of
from sweeps.tracking import artifacts
from sweeps.tracking.trial_description import describe_trial

BATCH = 1000  # metrics and params MLflow takes at once
# Up to FEW trials are looked up one by one; up to SOME, where all runs are more than a page.
FEW, SOME = 50, 500
TRIALS = "tags.`sweeps.kind` = 'trial'"
# Runs of trials that a sweep stopped early: no result of their configuration.
STOPPED_RUNS = "tags.`sweeps.kind` = 'stopped'"

WITH_WEIGHTS = f"{TRIALS} and tags.`sweeps.weights` = '{artifacts.WEIGHTS}'"


@dataclass(frozen=True)
class Found:
    """A run that is there."""

    run_id: str
    folder: str
    finished: bool
    started: int


class TrialRuns:
    """Looks up and writes the runs of trials.

    In a store that nobody else writes to, what was looked up once is known from then on:
    a search takes the longer the more runs there are.
    """

    def __init__(self, client: Any, context: dict[str, str], *, alone: bool) -> None:
        """Write by this client, with these tags on every run.

        Args:
            client: MLflow's.
            context: the tags of user, source and code.
            alone: whether nobody else writes to this store.
        """
        self._client, self._context, self._alone = client, context, alone
        self._known: dict[tuple[str, str], Found | None] = {}

    def finished(self, experiment: str, hashes: Collection[str]) -> dict[str, Result]:
        """Those of these trials that have a finished run."""
        found: dict[str, Result] = {}
        self._known |= {(experiment, digest): None for digest in hashes}
        for run in self._among(experiment, hashes):
            digest = run.data.tags.get("sweeps.config_hash", "")
            if digest in hashes:
                known = found_run(run)
                if known.finished:
                    found[digest] = _result(run)
                if known.finished or digest not in found:
                    self._known[experiment, digest] = known
        return found

    def _among(self, experiment: str, hashes: Collection[str]) -> Iterator[Any]:
        """Runs of trials, all of these hashes' among them, by what is less work.

        A page of runs costs as much as many questions, and more the longer the runs.
        """
        if len(hashes) > FEW:
            for page in pages_of(self._client, experiment, TRIALS):
                yield from page
                if page.token and len(hashes) <= SOME:
                    break
            else:
                return
        for digest in hashes:
            yield from search(self._client, experiment, of_hash(digest))

    def trajectory(self, experiment: str, config_hash: str) -> Columns | None:
        """Every step of a finished trial, from its artifacts; None where there is none."""
        query = f"{of_hash(config_hash)} and attributes.status = 'FINISHED'"
        for run in search(self._client, experiment, query):
            with tempfile.TemporaryDirectory() as folder:
                name = artifacts.TRAJECTORY
                self._client.download_artifacts(run.info.run_id, name, folder)
                return columns_of((Path(folder) / name).read_bytes())
        return None

    def discard(self, experiment: str, hashes: Collection[str]) -> None:
        """Delete the runs of these trials (MLflow keeps them in its bin)."""
        for query in (TRIALS, STOPPED_RUNS):
            for run in search(self._client, experiment, query):
                if run.data.tags.get("sweeps.config_hash") in hashes:
                    self._client.delete_run(run.info.run_id)
        self._known |= {(experiment, digest): None for digest in hashes}

    def untag(self, run: Any, tag: str) -> None:
        """Delete a tag of a run, where it has it."""
        if tag in run.data.tags:
            self._client.delete_tag(run.info.run_id, tag)

    def send(
        self,
        experiment: str,
        parent: str,
        sweep: str,
        name: str,
        record: Record,
        figure: bytes,
        weights: Path | None,
    ) -> str:
        """Write a finished trial's run, or finish one of this record that was begun; its id."""
        known = self._taken_over(experiment, record, weights)
        tags = _tags(parent, sweep, name, record, weights)
        if known is None:
            known, tags = self.create(experiment, record.started, tags), {}
        if not known.finished:
            self._write(known, record, figure, weights, tags)
        if not self._alone:
            drop_duplicates(self._client, experiment, _of(record), known.run_id)
        return known.run_id

    def remember(self, experiment: str, config_hash: str, run: Found) -> None:
        """Go on with this run when the trial's result is sent."""
        self._known[experiment, config_hash] = run

    def create(self, experiment: str, started: int, tags: dict[str, str]) -> Found:
        """A new run with these tags, and those of user, source and code."""
        return found_run(self._client.create_run(experiment, started, tags=self._context | tags))

    def _taken_over(self, experiment: str, record: Record, weights: Path | None) -> Found | None:
        """The run to go on with: a whole one, or one that holds points of this record only.

        Another driver's result of this trial has points of other times: its run, where it
        was left half-sent or lost its artifacts, is deleted. That driver then fails, should
        it go on sending.
        """
        alike = self._look_up(experiment, record) + self._begun(experiment, record)
        whole = [run for run in alike if run.finished and self._has(run, weights)]
        if whole:
            return whole[0]
        ours = [run for run in alike if run.started == record.started]
        for run in alike:
            if run not in ours[:1]:
                self._client.delete_run(run.run_id)
        return replace(ours[0], finished=False) if ours else None

    def _begun(self, experiment: str, record: Record) -> list[Found]:
        """The run that was begun while a trial trained that its sweep has stopped since."""
        if not record.stopped_in:
            return []
        runs = search(self._client, experiment, of_hash(record.config_hash))
        found = [found_run(run) for run in runs]
        return [run for run in found if not run.finished and run.started == record.started]

    def _look_up(self, experiment: str, record: Record) -> list[Found]:
        known_run = (experiment, record.config_hash)
        if self._alone and not record.stopped_in and known_run in self._known:
            # Should this fail, it is looked up anew.
            known = self._known.pop(known_run)
            return [known] if known else []
        return [found_run(run) for run in search(self._client, experiment, _of(record))]

    def _has(self, run: Found, weights: Path | None) -> bool:
        """Whether a run has all artifacts."""
        files = artifacts.files_of(weights=weights is not None)
        if self._alone and (folder := on_disk(run.folder)):
            return artifacts.are_in(folder, files)
        return has_files(self._client, run.run_id, files)

    def _write(
        self,
        run: Found,
        record: Record,
        figure: bytes,
        weights: Path | None,
        tags: dict[str, str],
    ) -> None:
        """All that a trial's run holds; writing it again changes nothing."""
        summary = sorted(record.summary.items())
        points = [Point(key, value, 0, record.started) for key, value in summary]
        log(self._client, run.run_id, points + points_of(record), record.config, tags)
        self._write_artifacts(run, record, figure, weights)
        status = ended_as(stopped=bool(record.stopped_in))
        self._client.set_terminated(run.run_id, status, record.finished)

    def _write_artifacts(
        self, run: Found, record: Record, figure: bytes, weights: Path | None
    ) -> None:
        """Straight into the run's folder where there is one; MLflow would ask for it anew."""
        if self._alone and (folder := on_disk(run.folder)):
            folder.mkdir(parents=True, exist_ok=True)
            artifacts.write_artifacts(record, folder, figure, weights)
            return
        with tempfile.TemporaryDirectory() as temporary:
            artifacts.write_artifacts(record, Path(temporary), figure, weights)
            try:
                self._client.log_artifacts(run.run_id, temporary)
            except Exception:  # their store may need what is not installed: not left RUNNING
                self._client.set_terminated(run.run_id, "KILLED")
                raise


def has_files(client: Any, run: str, names: Collection[str]) -> bool:
    """Whether a run holds artifacts of these names."""
    there = {file.path for file in client.list_artifacts(run)}
    return there.issuperset(names)


def on_disk(location: str) -> Path | None:
    """The folder of a `file:` address; None of another."""
    place = urllib.parse.urlsplit(location)
    return Path(urllib.request.url2pathname(place.path)) if place.scheme == "file" else None


def search(client: Any, experiment: str, query: str) -> Iterator[Any]:
    """Runs of an experiment."""
    for page in pages_of(client, experiment, query):
        yield from page


def pages_of(client: Any, experiment: str, query: str) -> Iterator[Any]:
    """The same, as many at a time as MLflow gives."""
    token = None
    while True:
        page = client.search_runs([experiment], query, page_token=token)
        yield page
        token = page.token
        if not token:
            return


def is_deleted(client: Any, experiment: str, query: str) -> bool:
    """Whether a query finds a run in MLflow's bin."""
    from mlflow.entities import ViewType

    return bool(client.search_runs([experiment], query, ViewType.DELETED_ONLY, max_results=1))


def drop_duplicates(client: Any, experiment: str, query: str, run: str) -> None:
    """Delete the other runs of a query.

    A server that made a run and was too slow to say so was asked again, by MLflow's
    client, and made another.
    """
    for other in list(search(client, experiment, query)):
        if other.info.run_id != run:
            client.delete_run(other.info.run_id)


def log(
    client: Any,
    run: str,
    points: Sequence[Point],
    config: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    """Write points, a config as params, and tags, as many at a time as MLflow takes."""
    from mlflow.entities import Metric, Param, RunTag

    metrics = [Metric(p.key, p.value, p.at, p.step) for p in points]
    params = [Param(key, str(value)) for key, value in flatten(config or {}).items()]
    set_tags = [RunTag(key, value) for key, value in (tags or {}).items()]
    first = BATCH - len(params) - len(set_tags)
    client.log_batch(run, metrics=metrics[:first], params=params, tags=set_tags)
    for i in range(first, len(metrics), BATCH):
        client.log_batch(run, metrics=metrics[i : i + BATCH])


def _of(record: Record) -> str:
    """The runs of a record: one, but where a server was too slow."""
    if not record.stopped_in:
        return of_hash(record.config_hash)
    of_sweep = f"{STOPPED_RUNS} and tags.`sweeps.sweep` = '{record.stopped_in}'"
    return f"{of_sweep} and tags.`sweeps.config_hash` = '{record.config_hash}'"


def of_hash(digest: str) -> str:
    """The query of a trial's runs."""
    return f"{TRIALS} and tags.`sweeps.config_hash` = '{digest}'"


def found_run(run: Any) -> Found:
    """A run as MLflow's client gives it."""
    info, kind = run.info, run.data.tags.get("sweeps.kind")
    finished = info.status == ended_as(stopped=kind == "stopped")
    return Found(str(info.run_id), info.artifact_uri, finished, info.start_time)


def ended_as(*, stopped: bool) -> str:
    """Status of the run of a trial that was wholly sent."""
    return "KILLED" if stopped else "FINISHED"


def _result(run: Any) -> Result:
    summary = {k: v for k, v in run.data.metrics.items() if is_summary(k)}
    return Result(run.data.tags["sweeps.status"], summary)


def _tags(
    parent: str, sweep: str, name: str, record: Record, weights: Path | None
) -> dict[str, str]:
    # The code that trained it, which need not be this one: it may have come in an archive.
    commit = record.environment.get("code", {}).get("commit")
    version = record.environment.get("packages", {}).get("deq-sweeps")
    code = {"mlflow.source.git.commit": commit} if commit else {}
    kept = {"sweeps.weights": artifacts.WEIGHTS} if weights else {}
    stopped = {}
    if record.stopped_in:
        step = int(record.summary[STOPPED_AT])
        stopped = {"sweeps.early_stopped": "true", "sweeps.early_stopped_step": str(step)}
    return (
        code
        | kept
        | stopped
        | {
            "mlflow.parentRunId": parent,
            "mlflow.runName": name,
            "sweeps.kind": "stopped" if stopped else "trial",
            "sweeps.config_hash": record.config_hash,
            "sweeps.cell_hash": record.cell_hash,
            "sweeps.sweep": sweep,
            "sweeps.status": record.status,
            "sweeps.reason": record.reason,
            "sweeps.version": version or __version__,
            "sweeps.device": record.device,
            "mlflow.note.content": describe_trial(record),
        }
    )
