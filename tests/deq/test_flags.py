"""Flags of a trajectory: whether the bound and the guarantees on the weights held."""

import math

import pytest
import torch

from deq.config import DiagnosticsConfig, ModelConfig, TrainConfig, TrialConfig
from deq.data import SphereConfig, load
from deq.theory.convergence import Initial
from deq.theory.flags import FLOOR_MARGIN, bound_flags, weight_flags
from deq.training.comparison import train


def curves(log_loss, rate, log_error=-60.0):
    log_loss = torch.tensor(log_loss, dtype=torch.float64)
    steps = torch.arange(len(log_loss), dtype=torch.float64)
    trajectory = {"loss": log_loss.exp(), "log_loss_bound": log_loss[0] - rate * steps}
    return trajectory, torch.full_like(log_loss, log_error + math.log(FLOOR_MARGIN))


@pytest.mark.parametrize(
    ("log_loss", "rate", "held"),
    [
        ([0.0, -0.2, -0.4], 0.1, 1),
        ([0.0, -0.1, -0.2], 0.1, 1),  # equality, up to rounding
        ([0.0, -0.2, -0.199], 0.1, 0),
        ([0.0, -0.2, 7.0], 0.1, 0),
        ([0.0, -0.2, math.inf], 0.1, 0),
        ([0.0, -0.2, math.nan], 0.1, 0),
        ([0.0, -50.0, -55.5, -56.0, -50.1], 20.0, 0),  # the last is above its floor, at -55.4
    ],
)
def test_the_flag_of_the_bound(log_loss, rate, held):
    summary, _ = bound_flags(*curves(log_loss, rate))
    assert summary["theory/bound_held"] == held
    if held:
        assert summary["theory/bound_violation"] <= 1e-15


def test_a_loss_at_its_floor_violates_no_bound():
    summary, _ = bound_flags(*curves([0.0, -20.0, -55.6, -55.5], 19.0))
    assert summary["theory/bound_held"] == 1
    assert summary["theory/bound_violation"] == pytest.approx(-1)
    summary, notes = bound_flags(*curves([0.0, -55.6], 19.0))
    assert summary == {}
    assert "floor" in notes["theory/bound_held"]


def test_the_tolerance_of_the_bound_is_the_error_of_the_losses():
    """0.001 above the bound: within 2 (r_t + r_0) where r_t = 1e-3, not where it is 1e-6."""
    log_loss, rate = [0.0, -0.999, -1.998], 1.0
    for error, held in ((1e-3, 1.0), (1e-6, 0.0)):
        trajectory, floor = curves(log_loss, rate, 2 * math.log(error))
        assert bound_flags(trajectory, floor)[0]["theory/bound_held"] == held


def test_a_missing_bound_is_noted():
    summary, notes = bound_flags(*curves([0.0, -1.0], math.nan))
    assert summary == {}
    assert "rate/bound" in notes["theory/bound_held"]


def at_start(lambda_0):
    gram = torch.diag(torch.tensor([lambda_0, 5.0, 9.0], dtype=torch.float64))
    return Initial(gram, torch.ones(3).double(), 0.5, 1.0, 1.0, 1.0, gram)


@pytest.mark.parametrize(
    ("lambdas", "norms", "expected"),
    [
        ([2.0, math.nan, 1.0], [0.5, math.nan, 0.9], (0.5, 1, 1)),
        ([2.0, math.nan, 0.9], [0.5, math.nan, 0.9], (0.45, 0, 1)),
        ([2.0, 1.9, 1.8], [0.5, 1.0, 0.9], (0.9, 1, 0)),
    ],
)
def test_the_flags_of_the_weights(lambdas, norms, expected):
    columns = {"lambda_min_gram": lambdas, "norm_w": norms}
    trajectory = {k: torch.tensor(v, dtype=torch.float64) for k, v in columns.items()}
    summary, notes = weight_flags(trajectory, at_start(2.0), 1.0)
    names = ("theory/lambda_ratio_min", "theory/lambda_held", "theory/well_posed_held")
    assert tuple(summary[name] for name in names) == expected
    assert notes == {}
    for rounding in (0.0, -1e-16, 1e-16):
        summary, notes = weight_flags(trajectory, at_start(rounding), 1.0)
        assert "theory/lambda_held" not in summary
        assert "rounding" in notes["theory/lambda_held"]


def test_a_trial_that_was_measured_at_step_0_only_has_no_flags():
    """An equilibrium may have been lost at step 2, before the next measurement."""
    columns = {"lambda_min_gram": [2.0, math.nan], "norm_w": [0.5, math.nan]}
    trajectory = {k: torch.tensor(v, dtype=torch.float64) for k, v in columns.items()}
    summary, notes = weight_flags(trajectory, at_start(2.0), 1.0)
    assert summary == {}
    assert notes["theory/well_posed_held"] == "||W||_2 was measured at t = 0 only"
    assert notes["theory/lambda_held"] == "lambda_min(G) was measured at t = 0 only"


def test_a_diverging_trial_breaks_the_bound_and_has_no_rate():
    config = TrialConfig(
        model=ModelConfig(width=24, activation="tanh"),
        train=TrainConfig(steps=200, eta=40.0),
        diagnostics=DiagnosticsConfig(every=1),
    )
    outcome = train(config, load(SphereConfig(n=5, d=4)))
    assert "rate/measured" in outcome.notes
    assert "rate/measured" not in outcome.summary
    flag = outcome.summary.get("theory/bound_held"), outcome.notes.get("theory/bound_held")
    assert flag[0] == 0 or flag[1]
