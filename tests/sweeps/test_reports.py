"""Reports of a worker, and how the driver stores and sends them."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from sweeps.execution import batching
from sweeps.execution.events import Done, Progress
from sweeps.execution.worker import run_pack
from sweeps.reports.figures import trial as drawing
from sweeps.storage.ledger import Ledger
from sweeps.storage.outbox import OutboxItem
from sweeps.storage.record import Trajectory
from sweeps.tracking.runs import SweepPage
from sweeps.tracking.trial_runs import TrialRuns

PLAIN = {
    "data": {"name": "sphere", "n": 4, "d": 6, "seed": 0},
    "model": {"width": 8, "activation": "tanh"},
    "train": {"steps": 4},
    "seed": 0,
}


@pytest.fixture(scope="module")
def record():
    (done,) = [m for m in run_pack([PLAIN], "cpu", 1) if isinstance(m, Done)]
    return done.record


def test_messages_are_reported_in_batches(monkeypatch):
    clock = iter([0.0, 0.0, 0.2, 0.4, 5.0, 5.0, 5.1])
    monkeypatch.setattr(batching.time, "monotonic", lambda: next(clock))
    messages = [Progress(f"{i}", 0, 1, 1.0) for i in range(5)]
    batches = list(batching.batched(messages, every=0.5))
    assert batches == [messages[:1], messages[1:4], messages[4:]]


def test_the_worker_draws_the_figure_and_an_error_in_it_loses_no_result(record, monkeypatch):
    (drawn,) = batching.with_figures([Done(record)])
    assert drawn.figure == drawing.draw(record)
    assert drawn.figure.startswith(b"\x89PNG")

    def fails(_):
        raise RuntimeError("no font")

    monkeypatch.setattr(drawing, "draw", fails)
    assert list(batching.with_figures([Done(record)])) == [Done(record)]


def test_a_figure_shows_nothing_of_the_previous_trial(record):
    fresh = drawing.draw(record)
    longer = {k: v * 3 for k, v in record.trajectory.items()}
    longer["step"] = [float(i) for i in range(len(longer["step"]))]
    assert drawing.draw(replace(record, trajectory=Trajectory.of(longer))) != fresh
    assert drawing.draw(record) == fresh


def test_a_figure_is_kept_until_its_trial_was_sent(record, tmp_path):
    ledger = Ledger(tmp_path / "ledger.db")
    pending_items = OutboxItem("study", record.config_hash, "sweep", "name")
    ledger.enqueue("local", [pending_items])
    ledger.save(record, b"png")
    assert ledger.figure(record.config_hash) == b"png"
    assert ledger.pending_items("local") == [pending_items]
    ledger.mark_sent("local", [(pending_items, "run")])
    assert ledger.figure(record.config_hash) == b""
    assert ledger.pending_items("local") == []
    ledger.close()


class Client:
    """Fake MLflow client for a trial's run; it counts the calls."""

    def __init__(self, folder, fails=0):
        self.folder, self.fails = folder, fails
        self.runs, self.calls = [], []

    def search_runs(self, _, query, page_token=None):
        self.calls.append("search")
        matching = [r for r in self.runs if r.data.tags["sweeps.config_hash"] in query]
        page = list(self.runs) if "config_hash" not in query else matching
        return type("Page", (list,), {"token": None})(page)

    def create_run(self, _, start, tags):
        uri = (self.folder / f"{len(self.runs)}").as_uri()
        info = SimpleNamespace(
            run_id=f"{len(self.runs)}", artifact_uri=uri, status="RUNNING", start_time=start
        )
        self.runs.append(SimpleNamespace(info=info, data=SimpleNamespace(tags=tags, metrics={})))
        return self.runs[-1]

    def log_batch(self, run, metrics=(), params=(), tags=()):
        self.calls.append(len(metrics) + len(params))
        if self.fails:
            self.fails -= 1
            raise OSError("away")

    def set_terminated(self, run, status, _):
        self.runs[int(run)].info.status = status


def send(runs, record):
    return runs.send(SweepPage("0", "parent", "sweep"), "name", record, b"png", None)


def test_a_trial_that_was_looked_up_is_sent_once_and_without_a_search(record, tmp_path):
    client = Client(tmp_path)
    runs = TrialRuns(client, {}, exclusive=True)
    many = [record.config_hash, *(f"{i:064x}" for i in range(60))]
    assert runs.finished_results("0", many) == {}
    assert client.calls == ["search"]  # all runs at once, not sixty questions
    assert send(runs, record) == "0"
    assert client.calls.count("search") == 1
    assert (tmp_path / "0" / "theory_vs_measurement.png").read_bytes() == b"png"
    assert send(runs, record) == "0"  # what is no longer known is looked up
    assert len(client.runs) == 1
    (digest,) = runs.finished_results("0", [record.config_hash])
    assert digest == record.config_hash


class Paged:
    """Fake MLflow with finished trials 0, 1, 2, ... that returns a hundred runs at a time."""

    def __init__(self, count):
        self.hashes, self.asked = [f"{i:064x}" for i in range(count)], []

    def search_runs(self, experiments, query, page_token=None):
        wanted = query.partition("config_hash` = '")[2].rstrip("'")
        self.asked.append("one" if wanted else "page")
        first = int(page_token or 0)
        matching = [h for h in self.hashes if h == wanted] if wanted else self.hashes[first:]
        matching = [] if "'stopped'" in query else matching
        more = str(first + 100) if len(matching) > 100 else None
        return Page(map(run_of, matching[:100]), more)

    def delete_run(self, digest):
        self.hashes.remove(digest)


class Page(list):
    def __init__(self, runs, token):
        super().__init__(runs)
        self.token = token


def run_of(digest):
    info = SimpleNamespace(run_id=digest, artifact_uri="", status="FINISHED", start_time=0)
    tags = {"sweeps.config_hash": digest, "sweeps.status": "budget"}
    return SimpleNamespace(info=info, data=SimpleNamespace(tags=tags, metrics={}))


@pytest.mark.parametrize(
    ("runs", "trials", "pages", "ones"),
    [(950, 50, 0, 50), (100, 60, 1, 0), (950, 60, 1, 60), (950, 600, 10, 0)],
)
def test_trials_are_looked_up_in_the_cheapest_way(runs, trials, pages, ones):
    """Few trials one by one; otherwise all runs if they fit on one page."""
    client = Paged(runs)
    half = [*client.hashes[-trials // 2 :], *(f"f{i:063x}" for i in range(trials // 2))]
    assert set(TrialRuns(client, {}, exclusive=False).finished_results("0", half)) == set(
        client.hashes[-trials // 2 :]
    )
    assert (client.asked.count("page"), client.asked.count("one")) == (pages, ones)


def test_all_runs_of_discarded_trials_are_deleted():
    client = Paged(250)
    left = client.hashes[120:125]
    TrialRuns(client, {}, exclusive=True).discard("0", set(client.hashes) - set(left))
    assert client.hashes == left


def test_a_run_that_was_begun_is_finished_and_not_created_again(record, tmp_path):
    client = Client(tmp_path, fails=1)
    runs = TrialRuns(client, {}, exclusive=True)
    runs.finished_results("0", [record.config_hash])
    with pytest.raises(OSError, match="away"):
        send(runs, record)
    assert send(runs, record) == "0"
    assert [run.info.status for run in client.runs] == ["FINISHED"]


def test_a_batch_holds_no_more_than_mlflow_takes(record, tmp_path):
    client = Client(tmp_path)
    long = {k: v * 60 for k, v in record.trajectory.items()}
    long["step"] = [float(i) for i in range(len(long["step"]))]
    send(TrialRuns(client, {}, exclusive=True), replace(record, trajectory=Trajectory.of(long)))
    sizes = [size for size in client.calls if size != "search"]
    assert len(sizes) == 2
    assert max(sizes) <= 1000
