"""The part of the ledger that says which results MLflow was sent, and which it is still owed."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class OutboxItem:
    """A finished trial MLflow has not been told of."""

    study: str
    config_hash: str
    sweep: str
    name: str


class Outbox:
    """The outbox table of the ledger; every write is on disk before it returns."""

    _db: sqlite3.Connection

    def enqueue(self, tracker: str, items: Iterable[OutboxItem]) -> None:
        """MLflow at `tracker` is to be sent these results, unless it was."""
        rows = [(tracker, o.study, o.config_hash, o.sweep, o.name) for o in items]
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO outbox VALUES (?, ?, ?, ?, ?, NULL)", rows)

    def pending_items(self, tracker: str) -> list[OutboxItem]:
        """Results that are still to be sent."""
        rows = self._db.execute(
            "SELECT study, config_hash, sweep, name FROM outbox WHERE tracker = ? "
            "AND run_id IS NULL AND config_hash IN (SELECT config_hash FROM results)",
            (tracker,),
        )
        return [OutboxItem(*row) for row in rows]

    def mark_sent(self, tracker: str, pending_items: OutboxItem, run_id: str) -> None:
        """It was sent, as this run."""
        with self._transaction():
            self._db.execute(
                "UPDATE outbox SET run_id = ? WHERE tracker = ? AND study = ? AND config_hash = ?",
                (run_id, tracker, pending_items.study, pending_items.config_hash),
            )
            self._db.execute(
                "DELETE FROM figures WHERE config_hash = ?", (pending_items.config_hash,)
            )

    def sent(self, tracker: str, study: str) -> dict[str, str]:
        """Keys of the results of a study that were sent, by the run they were sent as."""
        rows = self._db.execute(
            "SELECT run_id, config_hash FROM outbox WHERE tracker = ? AND study = ? "
            "AND run_id IS NOT NULL AND config_hash IN (SELECT config_hash FROM results)",
            (tracker, study),
        )
        return dict(rows.fetchall())

    def send_again(self, tracker: str, study: str, keys: Iterable[str]) -> None:
        """MLflow has lost these results, or they were changed there: they are owed anew."""
        rows = [(tracker, study, key) for key in keys]
        with self._transaction():
            self._db.executemany(
                "UPDATE outbox SET run_id = NULL "
                "WHERE tracker = ? AND study = ? AND config_hash = ?",
                rows,
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")  # which raises too, when the disk is full
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
