"""The filters of docs/how-to/browse.md find the runs that they say."""

import re

import pytest
from command import ROOT, SMALL, client, inside, runs

PAGE = (ROOT / "docs/how-to/browse.md").read_text()
FILTERS = dict(re.findall(r"^\| ([^|]*) \| ``(.*)`` \|$", PAGE, re.MULTILINE))
# Of two sweeps, with 2 seeds and 1 step of width 8 and 16: how many runs each finds.
FOUND = {
    "trials of any sweep": 6,
    "trials of one sweep": 4,
    "the repeats of a trial with other seeds": 2,
    "a trial by its config hash": 1,
    "the bound was exceeded (there should be none)": 0,
    "diverged, among wide tanh networks": 0,
    "ended early, so without a rate": 0,
    "verdicts of `sweeps reproduce`": 0,
}


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filters")
    for words in (["model.width=8,16", "seed=0,1"], ["seed=5,6"]):
        done = inside("run", *SMALL, *words, "cluster=inline", cwd=folder)
        assert done.returncode == 0, done.stderr
    return client(folder / "outputs")


def test_all_are_known_here():
    assert FOUND.keys() | {"measured and linearised rate within 5 percent"} == FILTERS.keys()


@pytest.mark.parametrize("what", FOUND)
def test_a_filter_finds(what, api):
    _, trials = runs(api)
    one = next(run.data for run in trials if run.data.params["model.width"] == "8")
    query = FILTERS[what].replace("SWEEP", one.tags["sweeps.sweep"])
    query = query.replace("CELL", one.tags["sweeps.cell_hash"])
    query = query.replace("HASH", one.tags["sweeps.config_hash"][:8])
    ids = [e.experiment_id for e in api.search_experiments()]
    assert len(api.search_runs(ids, query)) == FOUND[what]


def test_a_filter_on_a_metric_finds_what_is_within(api):
    ids = [e.experiment_id for e in api.search_experiments()]
    query = FILTERS["measured and linearised rate within 5 percent"].replace("0.95", "0.5")
    found = api.search_runs(ids, query.replace("1.05", "1.5"))
    ratios = [run.data.metrics.get("rate/measured_over_linearized", 0) for run in runs(api)[1]]
    assert len(found) == sum(0.5 < ratio < 1.5 for ratio in ratios) > 0
