"""Outbox table of the ledger: which results MLflow has received, and which are pending."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from sweeps.storage.database import transaction
from sweeps.storage.record import ResultKey


@dataclass(frozen=True)
class OutboxItem:
    """A trial of a sweep whose result MLflow is to receive.

    Attributes:
        study, sweep: where its run belongs.
        config_hash: of the trial.
        name: the run's name.
        stopped_in: the sweep that stopped the trial early; empty for a complete result.
    """

    study: str
    config_hash: str
    sweep: str
    name: str
    stopped_in: str = ""


class Outbox:
    """The outbox table; every write is on disk before the method returns."""

    _db: sqlite3.Connection

    def enqueue(self, tracker: str, items: Iterable[OutboxItem]) -> None:
        """Add items for the MLflow at `tracker`; those that are there already stay as they are."""
        rows = [(tracker, i.study, i.config_hash, i.stopped_in, i.sweep, i.name) for i in items]
        with transaction(self._db):
            self._db.executemany(
                "INSERT OR IGNORE INTO outbox VALUES (?, ?, ?, ?, ?, ?, NULL)", rows
            )

    def pending_items(self, tracker: str) -> list[OutboxItem]:
        """Items that have a result and were not sent yet."""
        rows = self._db.execute(
            "SELECT study, config_hash, sweep, name, stopped_in "
            "FROM outbox JOIN results USING (config_hash, stopped_in) "
            "WHERE tracker = ? AND run_id IS NULL ORDER BY outbox.rowid",
            (tracker,),
        )
        return [OutboxItem(*row) for row in rows]

    def mark_sent(self, tracker: str, sent: Iterable[tuple[OutboxItem, str]]) -> None:
        """Record the MLflow run that holds each of these results now, and drop their figures."""
        runs = [(run, tracker, i.study, i.config_hash, i.stopped_in) for i, run in sent]
        with transaction(self._db):
            self._db.executemany(
                "UPDATE outbox SET run_id = ? WHERE tracker = ? AND study = ? "
                "AND config_hash = ? AND stopped_in = ?",
                runs,
            )
            self._db.executemany(
                "DELETE FROM figures WHERE config_hash = ? AND stopped_in = ?",
                [run[3:] for run in runs],
            )

    def sent_runs(self, tracker: str, study: str) -> dict[str, ResultKey]:
        """Results of a study that were sent, by the id of their MLflow run."""
        rows = self._db.execute(
            "SELECT run_id, config_hash, stopped_in "
            "FROM outbox JOIN results USING (config_hash, stopped_in) "
            "WHERE tracker = ? AND study = ? AND run_id IS NOT NULL",
            (tracker, study),
        )
        return {run_id: ResultKey(*key) for run_id, *key in rows}

    def mark_pending(self, tracker: str, study: str, keys: Iterable[ResultKey]) -> None:
        """Make results pending again that MLflow has lost."""
        rows = [(tracker, study, *key) for key in keys]
        with transaction(self._db):
            self._db.executemany(
                "UPDATE outbox SET run_id = NULL "
                "WHERE tracker = ? AND study = ? AND config_hash = ? AND stopped_in = ?",
                rows,
            )
