"""Several machines that write to one MLflow, and an MLflow that was replaced."""

import contextlib
import signal
import threading
import time

import pytest
from changes import changed
from command import SMALL, assert_complete, inside, runs, started
from services import AUTH
from test_faults import TRIAL, Proxy
from test_reconciliation import assert_once

from sweeps.config.launch import TrackingConfig
from sweeps.driver.outbox import publish_results
from sweeps.storage.ledger import Ledger
from sweeps.tracking.tracker import Tracker

pytestmark = pytest.mark.services


class Stopping(Proxy):
    """Sends a signal to a driver after it sent a batch of a trial's metrics."""

    def __init__(self, port, number):
        super().__init__(port)
        self.number, self.driver, self.stopped = number, None, threading.Event()

    def passed(self, path):
        if path.endswith("runs/log-batch") and not self.stopped.is_set():
            self.driver.send_signal(self.number)
            self.stopped.set()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_driver_that_is_killed_or_paused_while_it_sends(server, number, tmp_path, monkeypatch):
    """Another machine completes the sweep meanwhile; a paused driver continues afterwards."""
    api, study = server.client(monkeypatch), f"sends-{number}"
    for machine in ("one", "two"):
        (tmp_path / machine).mkdir()
    words = ["run", *SMALL, "cluster=inline", "tracking=server", f"study={study}"]
    with contextlib.closing(Stopping(server.port, number)) as proxy:
        own = [*words, "tracking.lease=1", f"tracking.uri={proxy.uri}"]
        soon = changed(tmp_path / "changes", driver__outbox="RETRY_AFTER = 1.0")
        with started(*own, cwd=tmp_path / "one", **AUTH, **soon) as proxy.driver:
            assert proxy.stopped.wait(120)
            time.sleep(2)
            done = inside(*words, f"tracking.uri={server.uri}", cwd=tmp_path / "two", **AUTH)
            assert done.returncode == 0, done.stderr
            if number == signal.SIGSTOP:
                proxy.driver.send_signal(signal.SIGCONT)
            output = proxy.driver.communicate(timeout=200)
    assert proxy.driver.returncode == (0 if number == signal.SIGSTOP else -number), output
    (page,), (trial,) = runs(api, study)
    assert [run.info.status for run in (page, trial)] == ["FINISHED"] * 2
    assert_once(api, trial)
    assert len(api.get_metric_history(trial.info.run_id, "train/loss")) == 31


def test_a_server_with_a_new_database_gets_all_results_in_the_right_study(
    server, slow, tmp_path, monkeypatch
):
    """The ledger's ids belong to something else there; names and tags do not."""
    root, to = tmp_path / "outputs", ["tracking=server", f"tracking.uri={server.uri}"]
    words = ["run", *TRIAL, *to, "cluster=inline", "study=mine", "seed=range(0,4)"]
    env = AUTH | slow | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    with started(*words, cwd=tmp_path, **env) as sweep:
        output = server.stop_during(sweep, tmp_path / "mark")
    assert sweep.returncode == 3, output
    assert output.count("MLflow does not take results") == 1
    assert "did not take" in output.partition("Not in MLflow yet: ")[2]
    (server.folder / "record.db").unlink()
    server.start()
    api = server.client(monkeypatch)
    with contextlib.closing(Ledger(root / "ledger.db")) as ledger:
        (entry,) = ledger.sweeps_like("")
        theirs = somebody_elses(api, entry.experiment)
        tracker = Tracker(TrackingConfig(name="server", uri=server.uri), root)
        assert publish_results(tracker, ledger) == {}  # as a driver does that goes on
    assert not api.search_runs(theirs)
    assert inside("sync", *to, cwd=tmp_path, **AUTH).returncode == 0
    assert_complete(api, 4, "mine")
    api.delete_run(runs(api, "mine")[1][0].info.run_id)
    again = inside(*words, cwd=tmp_path, **AUTH)
    assert again.returncode == 0, again.stderr
    assert "all 4 trials finished before" in again.stdout
    assert_complete(api, 4, "mine")
    assert not api.search_runs(theirs)


def somebody_elses(api, until):
    """Create experiments up to the one with this id."""
    made = [api.create_experiment("somebody-elses-0")]
    while made[-1] != until:
        assert len(made) < 100
        made.append(api.create_experiment(f"somebody-elses-{len(made)}"))
    return made
