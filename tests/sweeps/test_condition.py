"""Conditions of a frontier search, and the metrics that they may name."""

from command import SMALL

import deq
from sweeps.config.condition import METRICS, Condition
from sweeps.config.request import request


def test_conditions():
    steep = Condition.read("rate/measured>0.1")
    assert steep.held("budget", {"rate/measured": 0.2})
    assert not steep.held("budget", {"rate/measured": 0.1})
    assert not steep.held("diverged", {})
    stable = Condition.read("stable")
    held = {status.value: stable.held(status.value, {}) for status in deq.Status}
    assert {status for status, yes in held.items() if not yes} == {
        "diverged",
        "ill_posed",
        "rejected",
    }


def test_every_metric_of_a_trial_has_a_name_that_a_search_may_give():
    seen = set()
    tanh = ["model.activation=tanh", "train.steps=200"]
    windows = ["train.integrator=windows"]
    asked = ["data.test_n=4", "diagnostics.depth=12", "diagnostics.high_dimension=true"]
    index = ["data=sphere", "data.d=2", "data.n=16", "data.labels=single_index", "model.width=1"]
    index += ["train.eta_unit=absolute", "train.eta=5e-3", "train.steps=100"]
    for words in (asked, ["train.eta_unit=theorem"], tanh, [*tanh, *windows], windows, index):
        (one,) = request([*SMALL, *words]).trials
        seen |= set(deq.train(one.trial).summary)
    assert seen <= set(METRICS)
    assert set(METRICS) - seen <= {
        "train/stopped_at",
        "rate/population_bound",
        "theory/networks_drawn",
    }
