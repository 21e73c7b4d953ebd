"""Tables of the ledger, and how the tables of an older version are read and migrated."""

VERSION = 3
TABLES = """
CREATE TABLE IF NOT EXISTS results (
    config_hash TEXT NOT NULL, stopped_in TEXT NOT NULL, status TEXT NOT NULL,
    summary TEXT NOT NULL, head TEXT NOT NULL, environment TEXT NOT NULL,
    trajectory BLOB NOT NULL, PRIMARY KEY (config_hash, stopped_in));
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
CREATE TABLE IF NOT EXISTS outbox (
    tracker TEXT NOT NULL, study TEXT NOT NULL, config_hash TEXT NOT NULL,
    stopped_in TEXT NOT NULL, sweep TEXT NOT NULL, name TEXT NOT NULL, run_id TEXT,
    PRIMARY KEY (tracker, study, config_hash, stopped_in));
CREATE INDEX IF NOT EXISTS outbox_by_hash ON outbox (config_hash);
"""
STATEMENTS = [statement for statement in TABLES.split(";") if statement.strip()]

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
    ]
}
# Views of a connection that may not write: they have the names and columns of this version.
VIEWS = {
    2: [
        f"CREATE TEMP VIEW {name} AS SELECT rowid, {columns} FROM main.{name}"  # noqa: S608
        for name, columns in _COLUMNS_IN_VERSION_2.items()
    ]
}
