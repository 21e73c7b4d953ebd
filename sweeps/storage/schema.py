"""Tables of the ledger, and how the tables of an older version are read and migrated."""

VERSION = 4
_RESULTS = """
    config_hash TEXT NOT NULL, stopped_in TEXT NOT NULL, status TEXT NOT NULL,
    summary TEXT NOT NULL, head TEXT NOT NULL, environment TEXT NOT NULL,
    trajectory BLOB NOT NULL, PRIMARY KEY (config_hash, stopped_in)"""
_OUTBOX = """
    tracker TEXT NOT NULL, study TEXT NOT NULL, config_hash TEXT NOT NULL,
    stopped_in TEXT NOT NULL, sweep TEXT NOT NULL, name TEXT NOT NULL, run_id TEXT,
    PRIMARY KEY (tracker, study, config_hash, stopped_in)"""
# What --force trains again: earlier results, and their rows of the outbox (see replaced.py).
_REPLACED = f"""
CREATE TABLE IF NOT EXISTS replaced_results ({_RESULTS});
CREATE TABLE IF NOT EXISTS replaced_outbox ({_OUTBOX});
CREATE INDEX IF NOT EXISTS replaced_outbox_by_hash ON replaced_outbox (config_hash);
"""
TABLES = f"""
CREATE TABLE IF NOT EXISTS results ({_RESULTS});
CREATE TABLE IF NOT EXISTS figures (
    config_hash TEXT NOT NULL, stopped_in TEXT NOT NULL, png BLOB NOT NULL,
    PRIMARY KEY (config_hash, stopped_in));
CREATE TABLE IF NOT EXISTS environments (digest TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failures (
    config_hash TEXT PRIMARY KEY, error TEXT NOT NULL, final INTEGER NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS sweeps (
    tracker TEXT NOT NULL, study TEXT NOT NULL, sweep TEXT NOT NULL,
    spec BLOB NOT NULL, experiment TEXT NOT NULL, run_id TEXT NOT NULL,
    status TEXT NOT NULL, published INTEGER NOT NULL,
    PRIMARY KEY (tracker, study, sweep));
CREATE TABLE IF NOT EXISTS outbox ({_OUTBOX});
CREATE INDEX IF NOT EXISTS outbox_by_hash ON outbox (config_hash);
{_REPLACED}"""


def _statements(text: str) -> list[str]:
    return [statement for statement in text.split(";") if statement.strip()]


STATEMENTS = _statements(TABLES)

# Version 2 had one column, `HASH` or `HASH@SWEEP`, for config_hash and stopped_in.
_SPLIT = "substr(config_hash, 1, 64) AS config_hash, substr(config_hash, 66) AS stopped_in"
_COLUMNS_IN_VERSION_2 = {
    "results": f"{_SPLIT}, status, summary, head, environment, trajectory",
    "figures": f"{_SPLIT}, png",
    "outbox": f"tracker, study, {_SPLIT}, sweep, name, run_id",
}
# From the version that a file has to this one; each list runs in one transaction.
MIGRATIONS = {
    2: [
        *(f"ALTER TABLE {name} RENAME TO {name}_2" for name in _COLUMNS_IN_VERSION_2),
        *STATEMENTS,
        *(
            f"INSERT INTO {name} SELECT {columns} FROM {name}_2"  # noqa: S608
            for name, columns in _COLUMNS_IN_VERSION_2.items()
        ),
        *(f"DROP TABLE {name}_2" for name in _COLUMNS_IN_VERSION_2),
    ],
    3: _statements(_REPLACED),
}
# Views of a connection that may not write: they have the names and columns of this version.
# What version 3 lacks, no reader asks for.
VIEWS = {
    2: [
        f"CREATE TEMP VIEW {name} AS SELECT rowid, {columns} FROM main.{name}"  # noqa: S608
        for name, columns in _COLUMNS_IN_VERSION_2.items()
    ]
}
