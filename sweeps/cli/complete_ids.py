"""What shell completion offers for a sweep's name or a trial's hash: those of the ledger.

Read only, and without what `sweeps.storage.ledger` imports to read a record.
"""

import contextlib
import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from sweeps.cli.complete_overrides import complete_override, typed

# More than these nobody reads.
MOST = 200
SHORT = 12
SWEEPS = "SELECT sweep, study FROM sweeps WHERE substr(sweep, 1, ?) = ? ORDER BY rowid DESC"
TRIALS = (
    "SELECT results.config_hash, max(name) FROM results LEFT JOIN outbox "
    "USING (config_hash, stopped_in) "
    "WHERE substr(results.config_hash, 1, ?) = ? AND stopped_in = '' "
    "GROUP BY 1 ORDER BY max(results.rowid) DESC"
)


def complete_sweep(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Names of sweeps, the latest first; overrides where those are taken too."""
    return _either(SWEEPS, context, parameter, incomplete)


def complete_trial(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """The first digits of finished trials' hashes, the latest first; or overrides."""
    return _either(TRIALS, context, parameter, incomplete)


def _either(
    query: str, context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    found = []
    if "=" not in incomplete:
        rows = _rows(_ledger(typed(context)), query, incomplete)
        short = max(SHORT, len(incomplete))
        names = {name[:short]: said for name, said in rows}
        found = [CompletionItem(name, help=said) for name, said in names.items()]
    if parameter.nargs == -1 and (incomplete or not found):
        found += complete_override(context, parameter, incomplete)
    return found


def _ledger(words: list[str]) -> Path:
    """The ledger of the output root that the command names."""
    named = [word.partition("=")[2] for word in words if word.startswith("paths.output=")]
    return Path([os.environ.get("SWEEPS_OUTPUT") or "outputs", *named][-1]) / "ledger.db"


def _rows(path: Path, query: str, prefix: str) -> list[tuple[str, str]]:
    import sqlite3

    from sweeps.storage.database import read_only

    if not path.exists():
        return []
    # A ledger of another version, or one that is locked, says nothing in a prompt.
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(read_only(path, 0.2)) as db,
    ):
        return list(db.execute(f"{query} LIMIT {MOST}", (len(prefix), prefix)))
    return []
