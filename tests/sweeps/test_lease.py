"""Runs of a driver that died on another machine are closed; those of a living one are not."""

import signal
import time

import pytest
from command import SMALL, inside, runs, started
from services import AUTH, until

from sweeps.tracking import lease

pytestmark = pytest.mark.services


def words(server, *more):
    to = ["tracking=server", f"tracking.uri={server.uri}", "study=lease"]
    return ["run", *SMALL, *to, "cluster=inline", "tracking.live_seconds=0", *more]


def reaches(process, line):
    assert any(printed.startswith(line) for printed in process.stdout)


def test_runs_of_a_dead_driver_are_closed_and_those_of_a_living_one_are_not(
    server, tmp_path, slow, monkeypatch
):
    api = server.client(monkeypatch)
    for machine in ("dead", "living", "other"):
        (tmp_path / machine).mkdir()
    dying = words(server, "train.loss_tol=0", "seed=0,1", "tracking.lease=2")
    living = words(server, "train.loss_tol=0", "seed=range(20,100)", "pack=1", "tracking.lease=20")
    with started(*living, cwd=tmp_path / "living", **AUTH, **slow) as alive:
        reaches(alive, "[1/80]")
        (page,), _ = runs(api, "lease")
        with started(*dying, cwd=tmp_path / "dead", **AUTH, **slow) as dead:
            reaches(dead, "[1/2]")
            dead.kill()
        ended = time.time() + 3
        (parent,) = (run for run in runs(api, "lease")[0] if run.info.run_id != page.info.run_id)
        trial = api.create_run(  # as a driver leaves it that dies while it sends a result
            parent.info.experiment_id,
            tags={"sweeps.kind": "trial", "mlflow.parentRunId": parent.info.run_id},
        )
        until(lambda: lease_of(api, page) > lease_of(page), 60, "its lease was renewed")
        time.sleep(max(0, ended - time.time()))
        other = inside(*words(server, "seed=99"), cwd=tmp_path / "other", **AUTH)
        assert other.returncode == 0, other.stderr
        assert other.stdout.count("was not heard of since") == 1
        states = {run.info.run_id: run.info.status for run in runs(api, "lease")[0]}
        assert states.pop(parent.info.run_id) == "KILLED"
        assert states.pop(page.info.run_id) == "RUNNING"
        assert list(states.values()) == ["FINISHED"]
        alive.send_signal(signal.SIGINT)
        output = alive.communicate(timeout=100)
    assert alive.returncode == 130, output
    assert api.get_run(page.info.run_id).info.status == "KILLED", output
    recorded, trials = runs(api, "lease")
    assert not [run for run in recorded + trials if run.info.status == "RUNNING"]
    closed = [run.info.run_id for run in recorded if lease.CLOSED in run.data.tags]
    assert closed == [parent.info.run_id]
    assert api.get_run(trial.info.run_id).info.status == "KILLED"
    # The dead one's own next launch makes it whole.
    again = inside(*dying, cwd=tmp_path / "dead", **AUTH)
    assert again.returncode == 0, again.stderr
    run = api.get_run(parent.info.run_id)
    assert run.info.status == "FINISHED"
    assert lease.CLOSED not in run.data.tags


def lease_of(*known):
    """End of the lease of a run: as it was looked up, or as it is now."""
    run = known[-1] if len(known) == 1 else known[0].get_run(known[1].info.run_id)
    return int(run.data.tags[lease.UNTIL])


def test_status_closes_expired_runs_and_a_living_driver_reopens_its_run(
    server, tmp_path, monkeypatch
):
    """The driver's clock is an hour behind, or it was cut off for longer than its lease."""
    api = server.client(monkeypatch)
    done = inside(*words(server, "seed=0", "study=mistake"), cwd=tmp_path, **AUTH)
    assert done.returncode == 0, done.stderr
    (parent,), _ = runs(api, "mistake")
    api.update_run(parent.info.run_id, status="RUNNING")
    api.set_tag(parent.info.run_id, lease.UNTIL, str(int(time.time()) - 3600))
    to = ["tracking=server", f"tracking.uri={server.uri}"]
    answer = inside("status", "--json", *to, cwd=tmp_path, **AUTH)
    assert answer.returncode == 0
    assert "its run is closed" in answer.stderr
    run = api.get_run(parent.info.run_id)
    assert run.info.status == "KILLED"
    assert run.data.tags[lease.CLOSED]
    lease.renew(api, parent.info.run_id, 3600)
    run = api.get_run(parent.info.run_id)
    assert run.info.status == "RUNNING"
    assert lease.CLOSED not in run.data.tags
    assert lease.close_expired_runs(api, run.info.experiment_id) == []
    api.set_terminated(parent.info.run_id)
