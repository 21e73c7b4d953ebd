"""The filters of docs/how-to/browse.md find the runs that they say."""

import re

import pytest
from command import ROOT, SMALL, client, inside, runs

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/how-to/browse.md").read_text()
FILTERS = dict(re.findall(r"^\| ([^|]*) \| ``(.*)`` \|$", PAGE, re.MULTILINE))
# How many of the runs of `api` each finds.
FOUND = {
    "trials of any sweep": 8,
    "trials of one sweep": 4,
    "the repeats of a trial with other seeds": 2,
    "a trial and its reproductions, by the config hash": 2,
    "diverged, among wide tanh networks": 1,
    "ended early, so without a rate": 1,
    "comparisons of `sweeps reproduce`": 1,
    "the loss exceeded the bound although conditions (7) to (10) hold": 0,
}
BOUND, LINEARISED = (
    "the loss exceeded the bound",
    "measured and linearised rate within 5 percent",
)
SWEEPS = (
    ["model.width=8,16", "seed=0,1"],
    ["seed=5,6"],
    ["model.activation=tanh", "model.width=512", "train.eta=50"],
    ["train.eta=0.8,0.1", "early_stopping=asha", "early_stopping.min_steps=5"],
)


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """Four sweeps; in the first, the width 8 of seed 0 is reproduced."""
    folder = tmp_path_factory.mktemp("filters")
    for words in SWEEPS:
        done = inside("run", *SMALL, *words, "cluster=inline", cwd=folder)
        assert done.returncode == 0, done.stderr
    store = client(folder / "outputs")
    done = inside("reproduce", one_of(store).tags["sweeps.config_hash"], cwd=folder)
    assert done.returncode == 0, done.stderr
    return store


def one_of(api):
    """Data of the MLflow run of the trial of width 8 and seed 0."""
    _, trials = runs(api)
    wanted = {"model.width": "8", "seed": "0"}
    return next(run.data for run in trials if wanted.items() <= run.data.params.items())


def run_count(api, query):
    """Number of runs, in all experiments, that a filter selects."""
    ids = [e.experiment_id for e in api.search_experiments()]
    return len(api.search_runs(ids, query))


def test_all_are_known_here():
    assert FOUND.keys() | {BOUND, LINEARISED} == FILTERS.keys()


@pytest.mark.parametrize("what", FOUND)
def test_a_filter_finds(what, api):
    tags = one_of(api).tags
    query = FILTERS[what].replace("SWEEP", tags["sweeps.sweep"])
    query = query.replace("CELL", tags["sweeps.cell_hash"])
    query = query.replace("HASH", tags["sweeps.config_hash"][:8])
    assert run_count(api, query) == FOUND[what]


def values(api, metric):
    return sorted(r.data.metrics[metric] for r in runs(api)[1] if metric in r.data.metrics)


def test_a_filter_on_the_bound_finds_the_trials_that_exceeded_it(api):
    exceeded = values(api, "theory/bound_violation")
    assert run_count(api, FILTERS[BOUND]) == sum(violation > 0 for violation in exceeded) > 0


def test_a_filter_on_a_metric_finds_what_is_within(api):
    query = FILTERS[LINEARISED].replace("0.95", "0.5").replace("1.05", "1.5")
    known = values(api, "rate/measured_over_linearized")
    assert run_count(api, query) == sum(0.5 < ratio < 1.5 for ratio in known) > 0
