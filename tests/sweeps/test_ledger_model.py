"""Random sequences of operations on the ledger, the outbox and leases, against simple models."""

import contextlib
import shutil
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from records import RECORD

from sweeps.storage.ledger import Failure, Ledger, Page, Result, SweepEntry
from sweeps.storage.outbox import OutboxItem
from sweeps.storage.record import ResultKey
from sweeps.tracking import lease

HASHES = [letter * 64 for letter in "012"]
SWEEPS, STUDIES, TRACKERS = ["a" * 12, "b" * 12], ["one", "two"], ["local", "server"]
KEYS = st.builds(ResultKey, st.sampled_from(HASHES), st.sampled_from(["", *SWEEPS]))
PLACES = st.tuples(st.sampled_from(TRACKERS), st.sampled_from(STUDIES))
MODEST = settings(max_examples=30, stateful_step_count=25, deadline=None, derandomize=True)


def hash_of(key):
    """The config hash of a key, or of a place of the outbox."""
    return (key if isinstance(key, ResultKey) else key[2]).config_hash


class LedgerModel(RuleBasedStateMachine):
    """The ledger beside dictionaries that hold the same."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.ledger = self.opened()
        self.results, self.figures, self.failures = {}, {}, {}
        self.outbox = {}  # (tracker, study, key): [item, run id or None]
        self.aside = ({}, {})  # results and rows of the outbox that are set aside
        self.sweeps = {}  # (tracker, study, sweep): entry
        self.count = 0

    def teardown(self):
        self.ledger.close()
        shutil.rmtree(self.folder)

    @rule(key=KEYS, figure=st.sampled_from([b"", b"png"]), value=st.floats(0, 1))
    def save(self, key, figure, value):
        summary = {"rate/measured": value}
        status = "stopped" if key.stopped_in else "budget"
        record = replace(RECORD, **key._asdict(), status=status, summary=summary)
        self.ledger.save(record, figure)
        self.results.setdefault(key, record)
        self.failures.pop(key.config_hash, None)
        self.take_out(key.config_hash, *self.aside)
        if figure:
            self.figures[key] = figure

    @rule(config_hash=st.sampled_from(HASHES), error=st.text(max_size=3), final=st.booleans())
    def fail(self, config_hash, error, final):
        self.ledger.save_failure(config_hash, error, final=final)
        self.failures[config_hash] = Failure(error, final)

    @rule(hashes=st.lists(st.sampled_from(HASHES), max_size=2))
    def forget(self, hashes):
        self.ledger.forget(hashes)
        for config_hash in hashes:
            self.failures.pop(config_hash, None)
            tables = (self.results, self.figures, self.outbox, *self.aside)
            self.take_out(config_hash, *tables)

    @rule(hashes=st.lists(st.sampled_from(HASHES), max_size=2))
    def set_aside(self, hashes):
        self.ledger.set_aside(hashes)
        results, outbox = self.aside
        for config_hash in hashes:
            self.failures.pop(config_hash, None)
            taken = self.take_out(config_hash, self.results, self.outbox, self.figures)
            results |= taken[0]
            for place, row in taken[1].items():
                outbox.setdefault(place, row)

    @rule()
    def bring_back(self):
        results, outbox = self.aside
        assert self.ledger.bring_back() == len({key.config_hash for key in results})
        self.results |= results
        self.outbox |= {place: [item, None] for place, (item, _) in outbox.items()}
        for key in results:
            self.failures.pop(key.config_hash, None)
        self.aside = ({}, {})

    @staticmethod
    def take_out(config_hash, *tables):
        """Delete the rows of a trial from tables by key or place; return them."""
        taken = []
        for table in tables:
            keys = [key for key in table if hash_of(key) == config_hash]
            taken.append({key: table.pop(key) for key in keys})
        return taken

    @rule(place=PLACES, keys=st.lists(KEYS, max_size=3), sweep=st.sampled_from(SWEEPS))
    def enqueue(self, place, keys, sweep):
        tracker, study = place
        items = [OutboxItem(study, key.config_hash, sweep, "name", key.stopped_in) for key in keys]
        self.ledger.enqueue(tracker, items)
        for key, item in zip(keys, items, strict=True):
            self.outbox.setdefault((*place, key), [item, None])

    @precondition(lambda self: self.expected_pending())
    @rule(data=st.data())
    def send(self, data):
        place = data.draw(st.sampled_from(self.expected_pending()))
        self.count += 1
        self.ledger.mark_sent(place[0], [(self.outbox[place][0], f"run {self.count}")])
        self.outbox[place][1] = f"run {self.count}"
        self.figures.pop(place[2], None)

    @rule(place=PLACES, keys=st.lists(KEYS, max_size=3))
    def lose(self, place, keys):
        self.ledger.mark_pending(*place, keys)
        for key in keys:
            if (*place, key) in self.outbox:
                self.outbox[*place, key][1] = None

    @rule(place=PLACES, sweep=st.sampled_from(SWEEPS), number=st.integers(0, 9))
    def open_sweep(self, place, sweep, number):
        tracker, study = place
        entry = SweepEntry(study, sweep, {"n": number}, "e", "r", "RUNNING", tracker)
        self.ledger.open_sweep(tracker, entry)
        self.sweeps[tracker, study, sweep] = entry

    @precondition(lambda self: self.sweeps)
    @rule(data=st.data(), text=st.sampled_from(["FINISHED", "KILLED"]), done=st.booleans())
    def change_sweep(self, data, text, done):
        name = data.draw(st.sampled_from(sorted(self.sweeps)))
        changed = replace(
            self.sweeps[name], status=text, published=done, spec={"t": text}, experiment=text
        )
        self.ledger.end_sweep(*name, text)
        self.ledger.set_published(*name, done=done)
        self.ledger.update_spec(name[0], changed)
        self.ledger.set_page(*name, text, "r")
        self.sweeps[name] = changed

    @rule()
    def kill_and_open_again(self):
        """A reader beside the writer sees the same; so does the next writer."""
        with contextlib.closing(Ledger(self.ledger.path, read_only=True)) as reader:
            assert reader.failures(HASHES) == self.ledger.failures(HASHES)
            assert reader.pending_items("local") == self.ledger.pending_items("local")
        self.ledger.close()
        self.ledger = self.opened()

    def opened(self):
        ledger = Ledger(self.folder / "ledger.db")
        ledger._db.execute("PRAGMA synchronous = OFF")  # this test does not cut the power
        return ledger

    def expected_pending(self):
        """Places of the outbox whose result is there and was not sent."""
        return [
            place
            for place, (_, run) in self.outbox.items()
            if run is None and place[2] in self.results
        ]

    @invariant()
    def holds_results_and_failures(self):
        for sweep in ("", *SWEEPS):
            expected = {
                key.config_hash: Result(record.status, record.summary)
                for key, record in self.results.items()
                if key.stopped_in == sweep
            }
            assert self.ledger.results(HASHES, sweep) == expected
        assert self.ledger.failures(HASHES) == self.failures
        for key in [ResultKey(h, s) for h in HASHES for s in ("", *SWEEPS)]:
            assert self.ledger.get(*key) == self.results.get(key)
            assert self.ledger.figure(*key) == self.figures.get(key, b"")

    @invariant()
    def holds_the_outbox(self):
        for tracker in TRACKERS:
            expected = {self.outbox[p][0] for p in self.expected_pending() if p[0] == tracker}
            pending = self.ledger.pending_items(tracker)
            assert len(pending) == len(set(pending))
            assert set(pending) == expected
            for study in STUDIES:
                assert self.ledger.sent_runs(tracker, study) == {
                    run: place[2]
                    for place, (_, run) in self.outbox.items()
                    if run and place[:2] == (tracker, study) and place[2] in self.results
                }

    @invariant()
    def holds_the_sweeps(self):
        assert {(e.tracker, e.study, e.sweep): e for e in self.ledger.sweeps_like("")} == (
            self.sweeps
        )
        for tracker in TRACKERS:
            for study in STUDIES:
                assert self.ledger.pages(tracker, study) == {
                    e.sweep: Page(e.run_id, e.status, e.published)
                    for e in self.sweeps.values()
                    if (e.tracker, e.study) == (tracker, study)
                }


@dataclass
class FakeMlflow:
    """Runs with tags and a status, and the five calls with which a lease changes them."""

    runs: dict = field(default_factory=dict)

    def set_tag(self, run, key, value):
        self.runs[run].data.tags[key] = value

    def delete_tag(self, run, key):
        del self.runs[run].data.tags[key]

    def get_run(self, run):
        return self.runs[run]

    def set_terminated(self, run, status):
        self.runs[run].info.status = status

    def update_run(self, run, status):
        self.runs[run].info.status = status

    def search(self, client, experiment, query):
        """Sweeps' runs, or the trials' runs of one, that are RUNNING."""
        kind = "sweep" if query.endswith("'sweep'") else "trial"
        for run in self.runs.values():
            tags = run.data.tags
            asked_for = kind == "sweep" or query.endswith(f"'{tags.get('mlflow.parentRunId')}'")
            if run.info.status == "RUNNING" and tags["sweeps.kind"] == kind and asked_for:
                yield run


class LeaseModel(RuleBasedStateMachine):
    """Drivers that renew leases or die, and a command elsewhere that closes expired runs."""

    def __init__(self):
        super().__init__()
        self.now, self.mlflow = 1000, FakeMlflow()
        self.until, self.closed = {}, set()
        self.patches = contextlib.ExitStack()
        clock = SimpleNamespace(time=lambda: self.now, sleep=time.sleep)
        self.patches.enter_context(mock.patch.object(lease, "time", clock))
        self.patches.enter_context(mock.patch.object(lease, "search", self.mlflow.search))

    def teardown(self):
        self.patches.close()

    def add(self, run, **tags):
        data = SimpleNamespace(tags={"sweeps.kind": "trial", **tags})
        info = SimpleNamespace(run_id=run, status="RUNNING")
        self.mlflow.runs[run] = SimpleNamespace(data=data, info=info)

    @rule(seconds=st.integers(1, 20))
    def start(self, seconds):
        run = f"sweep {len(self.until)}"
        self.add(run, **{"sweeps.kind": "sweep", "sweeps.sweep": run}, **lease.tags(seconds))
        self.add(f"trial of {run}", **{"mlflow.parentRunId": run})
        self.until[run] = self.now + seconds

    @rule(seconds=st.integers(1, 10))
    def wait(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.until)
    @rule(data=st.data(), seconds=st.integers(1, 20))
    def renew(self, data, seconds):
        run = data.draw(st.sampled_from(sorted(self.until)))
        lease.renew(self.mlflow, run, seconds)
        self.until[run] = self.now + seconds
        self.closed.discard(run)

    @rule()
    def close_expired(self):
        expired = {r for r, end in self.until.items() if end < self.now} - self.closed
        sentences = lease.close_expired_runs(self.mlflow, "experiment")
        assert len(sentences) == len(expired)
        assert all(any(run in text for text in sentences) for run in expired)
        self.closed |= expired
        for run in expired:
            assert self.mlflow.runs[f"trial of {run}"].info.status == "KILLED"

    @invariant()
    def only_expired_runs_are_closed(self):
        for run in self.until:
            closed = run in self.closed
            assert self.mlflow.runs[run].info.status == ("KILLED" if closed else "RUNNING")
            assert (lease.CLOSED in self.mlflow.runs[run].data.tags) == closed


TestLedger = LedgerModel.TestCase
TestLedger.settings = MODEST
TestLease = LeaseModel.TestCase
TestLease.settings = MODEST
