"""Runs that MLflow lost, or a user changed there, are restored without training."""

import contextlib
import logging
import shlex
import shutil
import sqlite3
import urllib.parse
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from command import SMALL, client, inside, runs, sweeps
from mlflow.experiments import commands as experiments

from sweeps.config.launch import TrackingConfig
from sweeps.driver.page import trajectory_lookup
from sweeps.storage.ledger import Ledger
from sweeps.tracking import artifacts
from sweeps.tracking.presence import ASKED, Presence, at_least
from sweeps.tracking.tracker import Tracker

pytestmark = pytest.mark.slow

WORDS = ["run", *SMALL, "cluster=inline"]
NOT_TRAINED = "nothing to do, all 2 trials finished before"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with an output root that holds a sweep of two trials."""
    folder = tmp_path_factory.mktemp("trained")
    done = inside(*WORDS, "seed=0,1", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def here(trained, tmp_path):
    """A copy of that folder."""
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    return tmp_path


def assert_whole(api, count=2, study="default", folder=None):
    """Check that there is a FINISHED page, and a complete run for each trial."""
    (page,), trials = runs(api, study)
    assert page.info.status == "FINISHED"
    assert {"sweep.yaml", "report.html", "trials.csv"} <= names(page)
    assert len({run.data.tags["sweeps.config_hash"] for run in trials}) == len(trials) == count
    for run in trials:
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == page.info.run_id
        assert {*artifacts.ARTIFACTS} - {artifacts.WEIGHTS} <= names(run)
        assert_once(api, run)
    return page, trials


def assert_once(api, run):
    """Check that every step metric has one point for each step."""
    for key in ("train/loss", "train/residual", "time/seconds"):
        steps = [point.step for point in api.get_metric_history(run.info.run_id, key)]
        assert steps
        assert steps == sorted(set(steps))


def names(run):
    """Files of a run, in the folder of the embedded store."""
    return {file.name for file in Path(urllib.parse.urlsplit(run.info.artifact_uri).path).iterdir()}


def a_trial_deleted(outputs):
    api = client(outputs)
    api.delete_run(runs(api)[1][0].info.run_id)


def a_trial_set_failed(outputs):
    api = client(outputs)
    api.set_terminated(runs(api)[1][0].info.run_id, "FAILED")


def the_page_deleted(outputs):
    api = client(outputs)
    api.delete_run(runs(api)[0][0].info.run_id)


def the_page_set_failed(outputs):
    api = client(outputs)
    api.set_terminated(runs(api)[0][0].info.run_id, "FAILED")


def the_page_gone_for_good(outputs):
    """Delete the page as `mlflow gc` does."""
    run = runs(client(outputs))[0][0].info.run_id
    with contextlib.closing(sqlite3.connect(outputs / "mlflow" / "mlflow.db")) as db, db:
        for table in ("tags", "latest_metrics", "metrics", "runs"):
            db.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (run,))  # noqa: S608


def the_store_deleted(outputs):
    shutil.rmtree(outputs / "mlflow")


def the_artifacts_deleted(outputs):
    shutil.rmtree(outputs / "mlflow" / "artifacts")


def a_file_deleted(outputs):
    run = runs(client(outputs))[1][0].info.run_id
    (outputs / f"mlflow/artifacts/default/{run}/artifacts/trajectory.parquet").unlink()


def the_experiment_renamed(outputs):
    api = client(outputs)
    api.rename_experiment(api.get_experiment_by_name("default").experiment_id, "theirs")


LOSSES = {
    a_trial_deleted: "1 trial",
    a_trial_set_failed: "1 trial",
    the_page_deleted: "1 sweep's page",
    the_page_set_failed: "1 sweep's page",
    the_page_gone_for_good: "1 sweep's page",
    the_store_deleted: "2 trials and 1 sweep's page",
    the_artifacts_deleted: "2 trials and 1 sweep's page",
    a_file_deleted: "1 trial",
    the_experiment_renamed: "2 trials and 1 sweep's page",
}


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_sync_restores_what_mlflow_lost(lose, here):
    lose(here / "outputs")
    # MLflow keeps a run's folder in mind, for a process: here that of the sweep copied.
    done = (sweeps if lose is the_artifacts_deleted else inside)("sync", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"sent again: {LOSSES[lose]} of study default\n"
    assert_whole(client(here / "outputs"))
    assert inside("sync", cwd=here).stdout == "nothing is missing\n"


@pytest.mark.parametrize("lose", [a_trial_deleted, the_store_deleted], ids=lambda f: f.__name__)
def test_the_same_command_restores_it_and_trains_nothing(lose, here):
    lose(here / "outputs")
    done = inside(*WORDS, "seed=0,1", cwd=here)
    assert done.returncode == 0, done.stderr
    assert f"MLflow had lost {LOSSES[lose]} of study default: sent again" in done.stdout
    assert NOT_TRAINED in done.stdout
    page, _ = assert_whole(client(here / "outputs"))
    assert page.info.run_id in done.stdout  # the links are those of what is there


def test_resume_and_report_restore_it(here):
    api = client(here / "outputs")
    (page,), _ = runs(api)
    for command in ("resume", "report"):
        a_trial_deleted(here / "outputs")
        the_page_deleted(here / "outputs")
        done = inside(command, page.data.tags["sweeps.sweep"], cwd=here)
        assert done.returncode == 0, done.stderr
        assert_whole(api)


@pytest.mark.parametrize("backup", [False, True])
def test_a_store_that_was_deleted_or_replaced_by_a_backup(backup, trained, tmp_path):
    """The wider sweep is complete, with the trials that the old store had."""
    outputs = tmp_path / "outputs"
    shutil.copytree(trained / "outputs", outputs)
    words = [*WORDS, "seed=0,1,2"]
    if backup:  # this process opens a store at one place once
        shutil.copytree(outputs, tmp_path / "wider")
        done = inside(*words, "paths.output=wider", cwd=tmp_path)
        shutil.copy(tmp_path / "wider" / "ledger.db", outputs)
    else:
        shutil.rmtree(outputs / "mlflow")
        done = inside(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert inside("sync", cwd=tmp_path).returncode == 0
    pages, trials = runs(client(outputs))
    assert [page.info.status for page in pages] == ["FINISHED"] * 2
    assert [run.info.status for run in trials] == ["FINISHED"] * 3
    parents = {page.info.run_id for page in pages}
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} <= parents


def test_a_deleted_experiment_is_refused_with_two_remedies(here):
    api = client(here / "outputs")
    assert inside(*WORDS, "study=other", cwd=here).returncode == 0
    api.delete_run(runs(api, "other")[1][0].info.run_id)
    api.delete_experiment(api.get_experiment_by_name("default").experiment_id)
    refused = inside(*WORDS, "seed=0,1", cwd=here)
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "study=OTHER" in refused.stderr
    synced = inside("sync", cwd=here)
    assert synced.returncode == 3
    assert synced.stdout == "sent again: 1 trial of study other\n"
    assert len(synced.stderr.strip().splitlines()) == 1
    command = synced.stderr.split("`")[1]
    setting, *words = shlex.split(command)
    assert words[:2] == ["mlflow", "experiments"]
    name, _, uri = setting.partition("=")
    assert CliRunner().invoke(experiments, words[2:], env={name: uri}).exit_code == 0
    assert inside("sync", cwd=here).stdout == "nothing is missing\n"
    assert_whole(api)


def test_artifacts_that_cannot_be_written_leave_nothing_running(trained, tmp_path):
    """The experiment is in an S3 bucket, and boto3 is not installed."""
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    api = client(tmp_path / "outputs")
    experiment = api.create_experiment("bucket", artifact_location="s3://nowhere/at/all")
    for _ in range(2):
        done = inside(*WORDS, "study=bucket", cwd=tmp_path)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert "boto3" in done.stderr
    assert not api.search_runs([experiment], "attributes.status = 'RUNNING'")


def test_the_report_has_curves_of_what_the_ledger_lost(here):
    outputs = here / "outputs"
    with contextlib.closing(Ledger(outputs / "ledger.db")) as ledger:
        (entry,) = ledger.sweeps_like("")
        digest = entry.spec["trials"][0]["config_hash"]
        held = ledger.trajectory(digest)
        with contextlib.closing(sqlite3.connect(ledger.path)) as db, db:
            db.execute("DELETE FROM results")
        assert ledger.trajectory(digest) is None
        lookup = trajectory_lookup(entry, ledger, Tracker(TrackingConfig(), outputs))
        assert lookup(digest) == held
        assert lookup("0" * 64) is None


def test_mlflows_page_token_is_an_offset_and_a_query_takes_enough_ids(here):
    """Guard of two private parts of MLflow: the token, and the length of a query."""
    api = client(here / "outputs")
    experiment = api.get_experiment_by_name("default").experiment_id
    query = "tags.`sweeps.kind` = 'trial'"
    assert [at_least(api, experiment, query, n) for n in (1, 2, 3)] == [True, True, False]
    tracker = Tracker(TrackingConfig(), here / "outputs")
    sent = [run.info.run_id for run in runs(api)[1]]
    never = [f"{i:032x}" for i in range(ASKED)]
    missing = tracker.presence.missing_runs(experiment, [*sent, *never], stopped=False)
    assert sorted(missing) == never


class Store:
    """Fake MLflow with these runs; it counts the queries."""

    def __init__(self, there):
        self.there, self.asked = there, 0

    def search_runs(self, _, query, *more, max_results=1000, page_token=None):
        self.asked += 1
        wanted = query.partition(" IN (")[2].rstrip(")").replace("'", "").split(", ")
        runs = [SimpleNamespace(info=SimpleNamespace(run_id=run)) for run in wanted]
        runs = [run for run in runs if run.info.run_id in self.there]
        page = runs[len(wanted) - 1 :] if page_token else runs
        return type("SweepPage", (list,), {"token": None})(page[:max_results])


@pytest.mark.parametrize(("lost", "most"), [(0, 4), (1, 15), (10_000, 8)])
def test_ten_thousand_runs_take_few_queries(lost, most):
    ids = [f"{i:032x}" for i in range(10_000)]
    store = Store(set(ids[lost:]))
    guard = lambda what: contextlib.nullcontext()  # noqa: E731
    missing = Presence(store, guard, exclusive=False).missing_runs("1", ids, stopped=False)
    assert missing == ids[:lost]
    assert store.asked <= most


def test_libraries_log_nothing(here):
    """A lost answer is requested again without a message."""
    Tracker(TrackingConfig(), here / "outputs")
    for name in ("urllib3.connectionpool", "alembic.runtime", "mlflow.tracking", "ray.tune"):
        assert not logging.getLogger(name).isEnabledFor(logging.ERROR)
