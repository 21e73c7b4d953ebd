"""Results that are trained again: kept in the ledger until the new ones are there.

`sweeps run --force` sets the results of its trials aside. A new result takes the place of the
earlier ones of its trial; the others are brought back when the sweep ends.
"""

import json
import sqlite3
from collections.abc import Iterable

from sweeps.storage.database import transaction
from sweeps.storage.record import ResultKey

_OF_TRIAL = "WHERE config_hash = ?"
_SET_ASIDE = [
    *(
        f"INSERT OR IGNORE INTO replaced_{table} SELECT * FROM {table} {_OF_TRIAL}"  # noqa: S608
        for table in ("results", "outbox")
    ),
    *(
        f"DELETE FROM {table} {_OF_TRIAL}"  # noqa: S608
        for table in ("results", "failures", "figures", "outbox")
    ),
]
DROP = [f"DELETE FROM replaced_{table} {_OF_TRIAL}" for table in ("results", "outbox")]  # noqa: S608
_COUNTS = (
    "SELECT (SELECT count(DISTINCT config_hash) FROM replaced_results), "
    "(SELECT count(*) FROM replaced_outbox)"
)
# A row of the outbox without a run is pending: MLflow's run was deleted, or will be found again.
# It takes the place of the row of the sweep that did not train the trial.
_BRING_BACK = [
    "INSERT INTO results SELECT * FROM replaced_results ORDER BY rowid",
    "INSERT OR REPLACE INTO outbox SELECT tracker, study, config_hash, stopped_in, sweep, name, "
    "NULL FROM replaced_outbox ORDER BY rowid",
    # As when a result is saved: it counts, so what the new training raised does not.
    "DELETE FROM failures WHERE config_hash IN (SELECT config_hash FROM replaced_results)",
    "DELETE FROM replaced_results",
    "DELETE FROM replaced_outbox",
]


class ReplacedResults:
    """The tables of results that are trained again; each method is one transaction.

    No key of a result is in `results` and in `replaced_results`: `Ledger.save` drops the latter.
    """

    _db: sqlite3.Connection

    def set_aside(self, hashes: Iterable[str]) -> None:
        """Take the results of these trials out of the record until they are trained again.

        Their failures and figures are deleted.
        """
        rows = [(config_hash,) for config_hash in hashes]
        with transaction(self._db):
            for statement in _SET_ASIDE:
                self._db.executemany(statement, rows)

    def bring_back(self) -> int:
        """Put back the results that no new one has replaced, pending wherever they were recorded.

        Returns:
            The number of their trials.
        """
        trials, items = self._db.execute(_COUNTS).fetchone()
        if trials or items:
            with transaction(self._db):
                for statement in _BRING_BACK:
                    self._db.execute(statement)
        return int(trials)

    def _drop_replaced(self, key: ResultKey) -> set[str]:
        """Delete the results that a new one replaces; return the names of their files of weights.

        A complete result replaces all of its trial; one that a sweep stopped early only its like.
        """
        where = f"{_OF_TRIAL} AND (? = '' OR stopped_in = ?)"
        values = (key.config_hash, key.stopped_in, key.stopped_in)
        heads = self._db.execute(f"SELECT head FROM replaced_results {where}", values)  # noqa: S608
        files = {json.loads(head).get("weights", "") for (head,) in heads}
        for table in ("results", "outbox"):
            self._db.execute(f"DELETE FROM replaced_{table} {where}", values)  # noqa: S608
        return files - {""}
