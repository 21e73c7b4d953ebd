"""Sweeps table of the ledger: every sweep that was launched, and its page in MLflow."""

import json
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# In the order of the fields of SweepEntry.
_COLUMNS = "study, sweep, spec, experiment, run_id, status, tracker, published"
_ONE_SWEEP = "tracker = ? AND study = ? AND sweep = ?"


@dataclass(frozen=True)
class SweepEntry:
    """A sweep that was launched.

    Attributes:
        study, sweep: its names.
        spec: its command and trials, as plain data.
        experiment, run_id: its page in MLflow.
        status: RUNNING while a driver works on it, then FINISHED, FAILED or KILLED.
        tracker: the MLflow that it is recorded in.
        published: whether its page there shows how it ended.
    """

    study: str
    sweep: str
    spec: dict[str, Any]
    experiment: str
    run_id: str
    status: str
    tracker: str = ""
    published: bool = False


@dataclass(frozen=True)
class Page:
    """A sweep's page in MLflow, as the ledger remembers it.

    Attributes:
        run_id: its run.
        status: how the sweep ended; RUNNING while a driver works on it.
        published: whether the page shows that status.
    """

    run_id: str
    status: str
    published: bool


class SweepTable:
    """The sweeps table; every write is on disk before the method returns."""

    _db: sqlite3.Connection

    def open_sweep(self, tracker: str, entry: SweepEntry) -> None:
        """Record that a driver works on this sweep; its page is unpublished from now on."""
        values = (entry.study, entry.sweep, _packed(entry.spec), entry.experiment, entry.run_id)
        self._db.execute(
            "INSERT OR REPLACE INTO sweeps VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
            (tracker, *values, entry.status),
        )

    def end_sweep(self, tracker: str, study: str, sweep: str, status: str) -> None:
        """Set the status with which the driver left the sweep."""
        self._update("status = ?", status, tracker, study, sweep)

    def set_published(self, tracker: str, study: str, sweep: str, *, done: bool = True) -> None:
        """Set whether the sweep's page in MLflow shows how it ended."""
        self._update("published = ?", done, tracker, study, sweep)

    def update_spec(self, tracker: str, entry: SweepEntry) -> None:
        """Replace the spec of a running sweep, and leave its page as the ledger has it."""
        self._update("spec = ?", _packed(entry.spec), tracker, entry.study, entry.sweep)

    def set_page(self, tracker: str, study: str, sweep: str, experiment: str, run_id: str) -> None:
        """Set the MLflow experiment and run that are the sweep's page."""
        self._db.execute(
            f"UPDATE sweeps SET experiment = ?, run_id = ? WHERE {_ONE_SWEEP}",  # noqa: S608
            (experiment, run_id, tracker, study, sweep),
        )

    def sweep(self, tracker: str, study: str, sweep: str) -> SweepEntry | None:
        """A sweep's entry; None where it was not launched."""
        entries = self._sweeps(_ONE_SWEEP, tracker, study, sweep)
        return entries[0] if entries else None

    def page(self, tracker: str, study: str, sweep: str) -> tuple[str, str]:
        """The MLflow experiment and run of a sweep's page; its spec is not read."""
        experiment, run_id = self._db.execute(
            f"SELECT experiment, run_id FROM sweeps WHERE {_ONE_SWEEP}",  # noqa: S608
            (tracker, study, sweep),
        ).fetchone()
        return experiment, run_id

    def sweeps_like(self, prefix: str, tracker: str | None = None) -> list[SweepEntry]:
        """Sweeps of all studies whose name begins with `prefix`, the latest last."""
        begins, order = "substr(sweep, 1, ?) = ?", "ORDER BY rowid"
        if tracker is None:
            return self._sweeps(f"{begins} {order}", len(prefix), prefix)
        return self._sweeps(f"{begins} AND tracker = ? {order}", len(prefix), prefix, tracker)

    def data_of(self, sha256: str) -> Iterator[dict[str, Any]]:
        """Yield the `data` parts of launched trials whose data have this SHA-256, latest first."""
        for (spec,) in self._db.execute("SELECT spec FROM sweeps ORDER BY rowid DESC"):
            for trial in _unpacked(spec).get("trials", []):
                data = trial.get("plain", {}).get("data", {})
                if data.get("sha256") == sha256:
                    yield data

    def studies(self, tracker: str) -> list[str]:
        """Names of the studies that have a sweep recorded in this MLflow."""
        query = "SELECT DISTINCT study FROM sweeps WHERE tracker = ? ORDER BY study"
        return [row[0] for row in self._db.execute(query, (tracker,))]

    def pages(self, tracker: str, study: str) -> dict[str, Page]:
        """Pages of a study's sweeps by the sweep's name, the latest sweep last."""
        rows = self._db.execute(
            "SELECT sweep, run_id, status, published FROM sweeps "
            "WHERE tracker = ? AND study = ? ORDER BY rowid",
            (tracker, study),
        )
        return {sweep: Page(run, status, bool(done)) for sweep, run, status, done in rows}

    def unpublished(self, tracker: str) -> list[SweepEntry]:
        """Sweeps whose page does not show yet how they ended."""
        return self._sweeps("tracker = ? AND NOT published", tracker)

    def _update(self, assignment: str, value: str | bytes | bool, *sweep: str) -> None:
        query = f"UPDATE sweeps SET {assignment} WHERE {_ONE_SWEEP}"  # noqa: S608
        self._db.execute(query, (value, *sweep))

    def _sweeps(self, where: str, *values: str | int) -> list[SweepEntry]:
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM sweeps WHERE {where}", values)  # noqa: S608
        return [
            SweepEntry(study, sweep, _unpacked(spec), experiment, run, status, tracker, bool(done))
            for study, sweep, spec, experiment, run, status, tracker, done in rows
        ]


def _packed(spec: dict[str, Any]) -> bytes:
    return zlib.compress(json.dumps(spec).encode())


def _unpacked(spec: bytes) -> dict[str, Any]:
    unpacked: dict[str, Any] = json.loads(zlib.decompress(spec))
    return unpacked
