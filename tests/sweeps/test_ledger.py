"""The ledger's file: migration from older versions, reading an old one as it is, its indexes."""

import contextlib
import sqlite3
from dataclasses import replace

import pytest
from records import RECORD

from sweeps.storage import database, ledger, replaced, schema
from sweeps.storage.ledger import Failure, Ledger, Result
from sweeps.storage.outbox import OutboxItem
from sweeps.storage.record import ResultKey

SWEEP = "0123456789ab"
STOPPED = replace(RECORD, status="stopped", stopped_in=SWEEP)
OTHER = replace(RECORD, config_hash="ef" * 32)
# Tables that are the same in every version.
_UNCHANGED = """CREATE TABLE environments (digest TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE failures (
    config_hash TEXT PRIMARY KEY, error TEXT NOT NULL, final INTEGER NOT NULL, at REAL NOT NULL);
CREATE TABLE sweeps (
    tracker TEXT NOT NULL, study TEXT NOT NULL, sweep TEXT NOT NULL,
    spec BLOB NOT NULL, experiment TEXT NOT NULL, run_id TEXT NOT NULL,
    status TEXT NOT NULL, published INTEGER NOT NULL,
    PRIMARY KEY (tracker, study, sweep));
"""
TABLES_2 = f"""
CREATE TABLE results (
    config_hash TEXT PRIMARY KEY, status TEXT NOT NULL, summary TEXT NOT NULL,
    head TEXT NOT NULL, environment TEXT NOT NULL, trajectory BLOB NOT NULL);
CREATE TABLE figures (config_hash TEXT PRIMARY KEY, png BLOB NOT NULL);
{_UNCHANGED}CREATE TABLE outbox (
    tracker TEXT NOT NULL, study TEXT NOT NULL, config_hash TEXT NOT NULL,
    sweep TEXT NOT NULL, name TEXT NOT NULL, run_id TEXT,
    PRIMARY KEY (tracker, study, config_hash));
PRAGMA user_version = 2;
"""
# Version 3 lacked the tables of results that are trained again.
TABLES_3 = f"""
CREATE TABLE results (
    config_hash TEXT NOT NULL, stopped_in TEXT NOT NULL, status TEXT NOT NULL,
    summary TEXT NOT NULL, head TEXT NOT NULL, environment TEXT NOT NULL,
    trajectory BLOB NOT NULL, PRIMARY KEY (config_hash, stopped_in));
CREATE TABLE figures (
    config_hash TEXT NOT NULL, stopped_in TEXT NOT NULL, png BLOB NOT NULL,
    PRIMARY KEY (config_hash, stopped_in));
{_UNCHANGED}CREATE TABLE outbox (
    tracker TEXT NOT NULL, study TEXT NOT NULL, config_hash TEXT NOT NULL,
    stopped_in TEXT NOT NULL, sweep TEXT NOT NULL, name TEXT NOT NULL, run_id TEXT,
    PRIMARY KEY (tracker, study, config_hash, stopped_in));
CREATE INDEX outbox_by_hash ON outbox (config_hash);
PRAGMA user_version = 3;
"""


def key_in_version_2(record):
    return "@".join(filter(None, record.key))


@pytest.fixture
def old(tmp_path):
    """A ledger as version 2 wrote it: two complete results and one that a sweep stopped early."""
    path = tmp_path / "ledger.db"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executescript(TABLES_2)
        db.execute("INSERT INTO environments VALUES ('d', ?)", (RECORD.environment_json(),))
        db.execute("INSERT INTO failures VALUES (?, 'no', 1, 0.0)", ("01" * 32,))
        for record, run in ((RECORD, "run"), (STOPPED, None), (OTHER, None)):
            key = key_in_version_2(record)
            values = (record.status, '{"a": 1}', record.head(), "d", record.parquet())
            db.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?)", (key, *values))
            db.execute("INSERT INTO figures VALUES (?, ?)", (key, key.encode()))
            db.execute("INSERT INTO outbox VALUES ('t', 's', ?, ?, 'n', ?)", (key, SWEEP, run))
    return path


def fill_version_3(path):
    """Write what `old` holds into a ledger as version 3 wrote it."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executescript(TABLES_3)
        db.execute("INSERT INTO environments VALUES ('d', ?)", (RECORD.environment_json(),))
        db.execute("INSERT INTO failures VALUES (?, 'no', 1, 0.0)", ("01" * 32,))
        for record, run in ((RECORD, "run"), (STOPPED, None), (OTHER, None)):
            values = (record.status, '{"a": 1}', record.head(), "d", record.parquet())
            db.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?)", (*record.key, *values))
            figure = key_in_version_2(record).encode()
            db.execute("INSERT INTO figures VALUES (?, ?, ?)", (*record.key, figure))
            item = (*record.key, SWEEP, "n", run)
            db.execute("INSERT INTO outbox VALUES ('t', 's', ?, ?, ?, ?, ?)", item)


def assert_holds_everything(held):
    hashes = [RECORD.config_hash, OTHER.config_hash]
    assert [held.get(*record.key) for record in (RECORD, STOPPED, OTHER)] == [
        RECORD,
        STOPPED,
        OTHER,
    ]
    assert held.results(hashes) == dict.fromkeys(hashes, Result("budget", {"a": 1}))
    assert held.results(hashes, SWEEP) == {RECORD.config_hash: Result("stopped", {"a": 1})}
    assert held.failures(["01" * 32]) == {"01" * 32: Failure("no", True)}
    assert held.figure(*STOPPED.key) == key_in_version_2(STOPPED).encode()
    assert held.sent_runs("t", "s") == {"run": RECORD.key}
    assert held.pending_items("t") == [
        OutboxItem("s", STOPPED.config_hash, SWEEP, "n", SWEEP),
        OutboxItem("s", OTHER.config_hash, SWEEP, "n"),
    ]
    assert held.records_like("ab") == [RECORD]
    assert held.records_like("abab", stopped=True) == [STOPPED]
    assert held.trajectory(STOPPED.config_hash, SWEEP) == RECORD.trajectory
    assert [config_hash for config_hash, _ in held.configs()] == hashes


def test_an_old_ledger_is_read_as_it_is(old):
    before = old.read_bytes()
    with ledger.reading(old) as held:
        assert_holds_everything(held)
    assert old.read_bytes() == before


def test_an_old_ledger_is_migrated_when_it_is_opened_for_writing(old):
    for _ in range(2):
        with contextlib.closing(Ledger(old)) as held:
            assert_holds_everything(held)
    with ledger.reading(old) as held:
        assert_holds_everything(held)
    with contextlib.closing(Ledger(old)) as held:
        held.forget([RECORD.config_hash])
        assert held.results([RECORD.config_hash], SWEEP) == {}
        assert held.pending_items("t") == [OutboxItem("s", OTHER.config_hash, SWEEP, "n")]


def test_an_interrupted_migration_leaves_the_old_ledger(old, monkeypatch):
    broken = [*schema.MIGRATIONS[2], "INSERT INTO no_such_table VALUES (1)"]
    with monkeypatch.context() as patch:
        patch.setitem(schema.MIGRATIONS, 2, broken)
        with pytest.raises(sqlite3.OperationalError):
            Ledger(old)
    with ledger.reading(old) as held:
        assert_holds_everything(held)
    with contextlib.closing(Ledger(old)) as held:
        assert_holds_everything(held)


def test_a_migrated_ledger_has_the_tables_of_a_new_one(old, tmp_path):
    tables = []
    for path in (old, tmp_path / "new.db"):
        Ledger(path).close()
        with contextlib.closing(sqlite3.connect(path)) as db:
            query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
            tables.append(db.execute(query).fetchall())
    assert tables[0] == tables[1]


def test_a_lookup_by_hash_uses_an_index(tmp_path):
    """Forgetting 10,000 of 10,000 trials would read every row 10,000 times without an index."""
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    with contextlib.closing(database.write(path)) as db:
        for statement in [*ledger._FORGET, *replaced._SET_ASIDE]:
            plan = db.execute(f"EXPLAIN QUERY PLAN {statement}", ("ab" * 32,)).fetchall()
            assert [row[3] for row in plan if "USING INDEX" not in row[3]] == [], statement


def test_all_that_is_held_of_a_forgotten_trial_goes(tmp_path):
    with contextlib.closing(Ledger(tmp_path / "ledger.db")) as held:
        for record in (RECORD, STOPPED, OTHER):
            held.save(record, b"png")
            held.enqueue("t", [OutboxItem("s", record.config_hash, SWEEP, "n", record.stopped_in)])
        held.forget(f"{number:064x}" for number in range(10_000))
        assert len(held.pending_items("t")) == 3
        held.forget([RECORD.config_hash])
        assert [held.get(*record.key) for record in (RECORD, STOPPED)] == [None, None]
        assert (held.figure(*STOPPED.key), held.figure(*OTHER.key)) == (b"", b"png")
        assert held.with_weights() == set()
        held.save(replace(STOPPED, weights="file"))
        assert held.with_weights() == {ResultKey(RECORD.config_hash, SWEEP)}


def test_a_ledger_of_version_3_is_read_and_migrated(tmp_path):
    path = tmp_path / "ledger.db"
    fill_version_3(path)
    before = path.read_bytes()
    with ledger.reading(path) as held:
        assert_holds_everything(held)
    assert path.read_bytes() == before
    with contextlib.closing(Ledger(path)) as held:
        assert_holds_everything(held)
        held.set_aside([RECORD.config_hash])
        assert held.results([RECORD.config_hash]) == {}
    with contextlib.closing(Ledger(path)) as held:
        assert held.bring_back() == 1
        assert held.get(*RECORD.key) == RECORD


def test_results_that_are_set_aside_come_back_where_no_new_one_replaces_them(tmp_path):
    """With the stopped ones of a trial, and pending in every study and MLflow that had them."""
    new = replace(RECORD, finished=2)
    with contextlib.closing(Ledger(tmp_path / "ledger.db")) as held:
        for record in (replace(RECORD, weights="new"), replace(STOPPED, weights="old"), OTHER):
            held.save(record)
            for place in ("t", "u"):
                item = OutboxItem(place, record.config_hash, SWEEP, "n", record.stopped_in)
                held.enqueue(place, [item])
                held.mark_sent(place, [(item, f"run {record.key} {place}")])
        held.set_aside([RECORD.config_hash, OTHER.config_hash])
        assert [held.get(*record.key) for record in (RECORD, STOPPED, OTHER)] == [None] * 3
        held.enqueue("t", [OutboxItem("t", OTHER.config_hash, "another", "name")])
        held.save_failure(OTHER.config_hash, "no", final=True)
        assert held.save(new) == {"new", "old"}
        assert held.bring_back() == 1
        assert [held.get(*record.key) for record in (RECORD, STOPPED, OTHER)] == [new, None, OTHER]
        assert held.failures([OTHER.config_hash]) == {}
        for place in ("t", "u"):
            expected = [OutboxItem(place, OTHER.config_hash, SWEEP, "n")]
            assert held.pending_items(place) == expected
        assert held.bring_back() == 0


def test_a_stopped_training_replaces_no_complete_result(tmp_path):
    digest = RECORD.config_hash
    with contextlib.closing(Ledger(tmp_path / "ledger.db")) as held:
        held.save(RECORD)
        held.set_aside([digest])
        held.save(STOPPED)
        assert held.results([digest]) == {}
        assert held.bring_back() == 1
        assert held.get(digest) == RECORD
        assert held.get(digest, SWEEP) == STOPPED
        held.set_aside([digest])
        held.save(RECORD)
        assert held.bring_back() == 0
        assert held.get(digest, SWEEP) is None
