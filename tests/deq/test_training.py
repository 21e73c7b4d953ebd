"""Training: step sizes, solvers, spectra, rates and repeatability."""

import pytest
import torch
from small_trials import DATA, SOME, config, finished, run_to_end

from deq.activations.builtin import ACTIVATIONS
from deq.config import DiagnosticsConfig, ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import DigitsConfig, SphereConfig, load
from deq.data.dataset import Dataset
from deq.training.comparison import compare, train
from deq.training.gradient_descent import GradientDescent
from deq.training.training_run import Status


def test_spectra_are_measured_at_the_cadence_and_at_the_end():
    outcome = run_to_end(train=TrainConfig(steps=7), diagnostics=DiagnosticsConfig(every=5))
    known = ~outcome.trajectory["lambda_min_gram"].isnan()
    assert known.nonzero().flatten().tolist() == [0, 5, 7]
    assert not bool(outcome.trajectory["loss"].isnan().any())


def test_step_size_units():
    def eta(unit):
        return run_to_end(train=TrainConfig(steps=1, eta=0.25, eta_unit=unit)).summary["train/eta"]

    descent = GradientDescent([config()], [DATA])
    next(iter(descent))
    initial = descent.runs[0].initial
    assert initial is not None
    top = float(torch.linalg.eigvalsh(initial.tangent)[-1])
    assert eta("absolute") == 0.25
    assert eta("tangent") == pytest.approx(0.5 / top, rel=1e-10)
    assert eta("population") == pytest.approx(eta("tangent"), rel=0.7)
    outcome = run_to_end(train=TrainConfig(steps=1, eta=0.25, eta_unit="theorem"))
    assert outcome.summary["theory/slack_10"] == pytest.approx(4.0, rel=1e-10)


@pytest.mark.parametrize("name", SOME)
def test_every_solver_gives_the_same_losses(name):
    """Losses to a relative 1e-8 of Picard's."""
    model = ModelConfig(width=24, activation=name)
    picard = run_to_end(model=model).trajectory["loss"]
    for solver in ("anderson", "broyden", "newton_krylov"):
        other = run_to_end(model=model, solver=SolverConfig(name=solver, tol=1e-13))
        torch.testing.assert_close(other.trajectory["loss"], picard, rtol=1e-8, atol=0, msg=solver)


def test_newton_krylov_trains_where_picard_finds_no_equilibrium():
    """||W||_2 about 3: Picard finds no equilibrium, Newton's method trains."""
    model = ModelConfig(width=60, activation="tanh", sigma_w2=1.3, allow_ill_posed=True)
    assert run_to_end(model=model).status is Status.ILL_POSED
    newton = SolverConfig(name="newton_krylov", tol=1e-10)
    outcome = run_to_end(model=model, solver=newton, train=TrainConfig(steps=15))
    assert outcome.status is Status.BUDGET
    assert float(outcome.trajectory["norm_w"][0]) > 2.5
    assert float(outcome.trajectory["loss"][-1]) < 0.9 * float(outcome.trajectory["loss"][0])


@pytest.mark.parametrize("name", SOME)
def test_measured_over_linearised_rate_approaches_one_with_width(name):
    """At most 0.2 from 1 at width 256 and nearer than at width 32 (seeds averaged)."""

    def miss(width):
        trials = [
            TrialConfig(
                data=DigitsConfig(n=12),
                model=ModelConfig(width=width, activation=name),
                train=TrainConfig(steps=60),
                seed=seed,
            )
            for seed in range(2)
        ]
        descent = finished(GradientDescent(trials, [load(trials[0].data)] * 2))
        summaries = [compare(run).summary for run in descent.runs]
        assert all(summary["theory/bound_violation"] <= 0 for summary in summaries)
        return sum(abs(1 - summary["rate/measured_over_linearized"]) for summary in summaries) / 2

    wide = miss(256)
    assert wide < 0.2
    assert wide < miss(32)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ModelConfig(width=0), "width must be"),
        (lambda: ModelConfig(sigma_w2=-0.1), "sigma_w2 is a variance"),
        (lambda: ModelConfig(sigma_w2=0.125), "well-posedness"),
        (lambda: ModelConfig(activation="nope"), "unknown activation"),
        (lambda: TrainConfig(steps=0), "steps must be"),
        (lambda: TrainConfig(eta=0), "eta must be"),
        (lambda: DiagnosticsConfig(every=0), "every must be"),
        (lambda: SolverConfig(tol=0), "tol must be"),
        (lambda: TrialConfig(dtype="float32", solver=SolverConfig(tol=1e-8)), "float32"),
        (lambda: TrialConfig(seed=-1), "seed must be"),
    ],
)
def test_invalid_values_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_a_given_dataset_is_used():
    data = Dataset(x=DATA.x[:, :3], y=DATA.y[:3])
    assert train(config(), data).trajectory["loss"].numel() == 21


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_run_repeats_bit_for_bit(name):
    model = ModelConfig(width=24, activation=name)
    first, second = run_to_end(model=model), run_to_end(model=model)
    for key, values in first.trajectory.items():
        assert torch.equal(values.nan_to_num(), second.trajectory[key].nan_to_num()), key


def test_gram_error_falls_with_width():
    data = load(SphereConfig(n=8, d=8))

    def error(width):
        config = TrialConfig(model=ModelConfig(width=width), train=TrainConfig(steps=1))
        return train(config, data).summary["theory/gram_error"]

    assert error(1600) < 0.5 * error(100)
