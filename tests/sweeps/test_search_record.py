"""The record of a search: it has every trial that the search asked for, trained or not."""

import csv
import json

import pytest
from command import inside

from sweeps.config.yaml_text import from_yaml

FRONTIER = ["run", "search=frontier", "search.tolerance=0.5", "data=sphere", "data.n=8"]
FRONTIER += ["model.width=16", "train.steps=40", "model.activation=tanh", "cluster=inline"]
GRID = ["run", "data=sphere", "data.n=8", "model.width=8", "train.steps=64", "cluster=inline"]
GRID += ["seed=range(0,6)", "study=shared"]
ASHA = ["early_stopping=asha", "early_stopping.min_steps=8", "early_stopping.reduction_factor=2"]


def status_of(place, sweep):
    rows = json.loads(inside("status", "--json", cwd=place).stdout)
    return next(row for row in rows if row["sweep"] == sweep)


def table_of(place, sweep):
    with (place / "outputs" / "sweeps" / sweep / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def pages_of(place):
    """Content of `sweep.yaml` of every sweep's page in MLflow."""
    texts = [path.read_text() for path in (place / "outputs" / "mlflow").rglob("sweep.yaml")]
    return {page["sweep"]: page for page in map(from_yaml, texts)}


def launched(words, place):
    """A launch's name and the hashes of its trials."""
    done = inside(*words, "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["sweep"], [trial["config_hash"] for trial in answer["trials"]]


@pytest.mark.slow
def test_rounds_that_had_their_results_are_in_the_record(tmp_path):
    """A wider interval whose first halvings are the narrow one's."""
    launched([*FRONTIER, "train.eta=tag(log,interval(0.5,8))"], tmp_path)
    for _ in range(2):  # the second time nothing is to train
        sweep, hashes = launched([*FRONTIER, "train.eta=tag(log,interval(0.125,32))"], tmp_path)
        assert len(hashes) > 3
        assert [row["config_hash"] for row in table_of(tmp_path, sweep)] == hashes
        assert list(pages_of(tmp_path)[sweep]["trials"]) == hashes
        status = status_of(tmp_path, sweep)
        assert status["done"] + status["reused"] == len(hashes)


@pytest.mark.slow
def test_a_report_shows_results_that_another_sweep_has_brought(tmp_path):
    """Trials that early stopping ended are trained to their end by a sweep without it."""
    sweep, _ = launched([*GRID, *ASHA], tmp_path)
    assert "stopped" in {row["status"] for row in table_of(tmp_path, sweep)}
    launched(GRID, tmp_path)
    assert launched([*GRID, *ASHA], tmp_path)[0] == sweep
    assert {row["status"] for row in table_of(tmp_path, sweep)} == {"budget"}
