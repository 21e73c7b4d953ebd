"""The ways in which a trial ends."""

import math

import pytest
from small_trials import DATA, config, run_to_end

from deq.config import ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import SphereConfig, load
from deq.training.comparison import train
from deq.training.training_run import Status, TrainingRun, blank_row


def test_status_budget_converged_and_diverged():
    assert run_to_end().status is Status.BUDGET
    loose = TrainConfig(steps=500, loss_tol=0.1)
    assert run_to_end(train=loose).status is Status.CONVERGED
    wild = TrainConfig(steps=500, eta=40.0)
    outcome = run_to_end(train=wild)
    assert outcome.status is Status.DIVERGED
    assert "rate/measured" not in outcome.summary
    assert "diverged" in outcome.notes["rate/measured"]


def test_a_loss_at_its_floor_is_stalled():
    easy = TrainConfig(steps=20000, eta=0.9, loss_tol=0.0)
    model = ModelConfig(width=200, activation="relu")
    assert run_to_end(train=easy, model=model).status is Status.STALLED


def test_a_loss_that_stopped_far_above_its_floor_is_not_reported_as_at_it():
    """At the edge of stability it rises for more than 100 steps, then falls again."""
    data = SphereConfig(n=12, d=8, norm=0.2, bias=1)
    model = ModelConfig(width=96, activation="sigmoid")
    trial = TrialConfig(data=data, model=model, train=TrainConfig(steps=4000))
    outcome = train(trial, load(data))
    assert outcome.status is Status.STALLED
    assert min(outcome.trajectory["loss"]) > 0.1 * outcome.trajectory["loss"][0]
    why = "the loss has not fallen for 100 steps, and too few steps were above 100 times"
    assert outcome.notes["rate/measured"].startswith(why)


@pytest.mark.parametrize(
    "losses",
    [
        [math.inf],
        [math.nan],
        [-math.inf],
        [1.0, math.inf],
        [1.0, math.nan],
        [1e303, math.inf],  # 1e6 times the first overflows
        [0.5, 1e6],
    ],
)
def test_a_loss_that_is_not_finite_or_too_large_has_diverged(losses):
    run = TrainingRun(config(train=TrainConfig(steps=1)), DATA)
    for step, loss in enumerate(losses):
        assert run.status is None
        run.rows.append(blank_row(step) | {"loss": loss})
        run.check_stop()
    assert run.status is Status.DIVERGED
    assert ("not finite" in run.reason) == (not math.isfinite(losses[-1]))


def test_no_equilibrium_is_ill_posed():
    model = ModelConfig(width=64, activation="relu", sigma_w2=2.0, allow_ill_posed=True)
    outcome = run_to_end(model=model, solver=SolverConfig(max_steps=200))
    assert outcome.status is Status.ILL_POSED
    assert outcome.notes["theory"]


def test_stagnation_ends_a_trial_only_above_the_tolerance_asked_for(monkeypatch):
    """Stagnation within the configured tolerance is accepted; above it the trial ends."""
    monkeypatch.setattr("deq.training.pack.RESOLVED", 1e-3)
    steps = TrainConfig(steps=300, eta=0.9, loss_tol=1e-20)
    model = ModelConfig(width=100, activation="tanh")
    solver = SolverConfig(tol=1e-8)
    assert run_to_end(model=model, train=steps, solver=solver).status is Status.CONVERGED
    monkeypatch.setattr("deq.config.TrialConfig.__post_init__", lambda self: None)
    outcome = run_to_end(model=model, train=steps, solver=SolverConfig(tol=1e-20))
    assert outcome.status is Status.STALLED
    assert "precision" in outcome.reason
