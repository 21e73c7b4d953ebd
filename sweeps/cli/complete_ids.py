"""Shell completion of sweep names and trial hashes, from the ledger.

It opens the database read-only and does not import `sweeps.storage.ledger`, which is slow.
"""

import contextlib
import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from sweeps.cli.complete_overrides import complete_override, typed_words

# Most completions offered, and digits of a name.
MAX_OFFERED, SHORT = 200, 12
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
    """Complete a sweep's name, the latest first, or an override where the command takes those."""
    return _complete(SWEEPS, context, parameter, incomplete)


def complete_trial(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete a finished trial's hash, the latest first, or an override."""
    return _complete(TRIALS, context, parameter, incomplete)


def _complete(
    query: str, context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete from the rows of a query, then from overrides if the parameter takes several."""
    items = []
    if "=" not in incomplete:
        rows = _rows(_ledger(typed_words(context)), query, incomplete)
        length = max(SHORT, len(incomplete))
        names = {name[:length]: help_text for name, help_text in rows}
        items = [CompletionItem(name, help=help_text) for name, help_text in names.items()]
    if parameter.nargs == -1 and (incomplete or not items):
        items += complete_override(context, parameter, incomplete)
    return items


def _ledger(words: list[str]) -> Path:
    """Ledger of the output root that the command line names."""
    given = [word.partition("=")[2] for word in words if word.startswith("paths.output=")]
    return Path([os.environ.get("SWEEPS_OUTPUT") or "outputs", *given][-1]) / "ledger.db"


def _rows(path: Path, query: str, prefix: str) -> list[tuple[str, str]]:
    """(name, help text) rows of a query; empty if the ledger cannot be read quickly."""
    import sqlite3

    from sweeps.storage.database import read_only

    if not path.exists():
        return []
    # No message in a prompt if the ledger is locked or has another version.
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(read_only(path, 0.2)) as db,
    ):
        return list(db.execute(f"{query} LIMIT {MAX_OFFERED}", (len(prefix), prefix)))
    return []
