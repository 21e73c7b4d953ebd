"""Data sets as MLflow's dataset inputs."""

import json

import numpy as np
import pytest
from command import SMALL, client, inside, runs

from sweeps.tracking.inputs import dataset_of, log_inputs

pytestmark = pytest.mark.slow


def inputs(api):
    """(name, digest, profile, source, context) of each trial's run; each run has one."""
    rows = []
    for run in runs(api)[1]:
        (one,) = run.inputs.dataset_inputs
        data = one.dataset
        (tag,) = one.tags
        assert (tag.key, tag.value) == ("mlflow.data.context", "training")
        rows.append((data.name, data.digest, json.loads(data.profile), json.loads(data.source)))
    return sorted(rows, key=str)


def test_every_trials_run_has_its_data_set(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.normal(size=(5, 7)), y=rng.normal(size=7))
    words = ["cluster=inline", "train.steps=5", "model.width=8"]
    for data in (["data=digits", "data.n=8,10", "seed=0,1"], ["data=npz", "data.path=mine.npz"]):
        assert inside("run", *words, *data, cwd=tmp_path).returncode == 0
    rows = inputs(client(tmp_path / "outputs"))
    names = [(name, profile) for name, _, profile, _ in rows]
    eight, ten, mine = {"n": 8, "d": 64}, {"n": 10, "d": 64}, {"n": 7, "d": 5}
    trained_on = [("digits", eight), ("digits", eight), ("digits", ten), ("digits", ten)]
    assert sorted(names, key=str) == sorted([*trained_on, ("mine", mine)], key=str)
    assert len({digest for _, digest, _, _ in rows}) == 3
    assert all(8 <= len(digest) <= 36 for _, digest, _, _ in rows)
    (source,) = [source for name, _, _, source in rows if name == "mine"]
    assert len(source["sha256"]) == 64


def test_the_profile_of_a_missing_data_file_has_no_dimension():
    config = {"name": "npz", "path": "gone/mine.npz", "n": 12, "sha256": "ab" * 32}
    dataset = dataset_of(json.dumps(config))
    assert (dataset.name, json.loads(dataset.profile)) == ("mine", {"n": 12})


def test_sending_a_data_set_again_changes_nothing(tmp_path):
    assert inside("run", *SMALL, "cluster=inline", cwd=tmp_path).returncode == 0
    api = client(tmp_path / "outputs")
    before = inputs(api)
    (run,) = runs(api)[1]
    api.set_terminated(run.info.run_id, "FAILED")  # what sync sends again
    assert "sent again: 1 trial" in inside("sync", cwd=tmp_path).stdout
    log_inputs(api, run.info.experiment_id, {run.info.run_id: before[0][3]}, exclusive=True)
    assert inputs(api) == before


@pytest.mark.parametrize("alone", [True, False])
def test_writing_to_the_tables_gives_the_same_as_the_api(tmp_path, alone):
    """The rows written to the database equal those that MLflow's client writes."""
    assert inside("run", *SMALL, "cluster=inline", cwd=tmp_path).returncode == 0
    api = client(tmp_path / "outputs")
    experiment = api.get_experiment_by_name("default").experiment_id
    (sent,) = inputs(api)
    for data in ({"name": "sphere", "n": 4, "d": 3, "seed": 0}, sent[3]):
        made = api.create_run(experiment, tags={"sweeps.kind": "trial"}).info.run_id
        for way in (alone, not alone):
            log_inputs(api, experiment, {made: data}, exclusive=way)
    assert [name for name, *_ in inputs(api)] == ["digits", "digits", "sphere"]
    assert inputs(api)[0] == inputs(api)[1] == sent
