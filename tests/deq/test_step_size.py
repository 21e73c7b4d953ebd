"""Step sizes in each unit, and the trials for which a unit does not exist."""

import pytest
import torch

from deq.config import ModelConfig, TrainConfig, TrialConfig
from deq.data import SphereConfig, load
from deq.theory.convergence import Initial
from deq.theory.population import population
from deq.training.comparison import train
from deq.training.forecast import forecast
from deq.training.step_size import step_size

DATA = load(SphereConfig(n=5, d=4, seed=3))


def config(unit, eta=0.25, **model):
    return TrialConfig(
        model=ModelConfig(**{"width": 24, "activation": "tanh"} | model),
        train=TrainConfig(steps=1, eta=eta, eta_unit=unit),
    )


def initial(tangent, norm_w=0.5):
    eye = torch.eye(5, dtype=torch.float64)
    return Initial(eye, torch.ones(5).double(), norm_w, 1.0, 1.0, 4.0, tangent * eye)


@pytest.mark.parametrize("unit", ["absolute", "tangent", "population", "theorem"])
def test_the_resolved_step_size_is_the_unit_times_the_multiple(unit):
    """Relative 1e-12; the summary and the trial use the same value."""
    trial = config(unit)
    prediction = forecast(trial, DATA)
    h_inf = population(DATA.x, "tanh", sigma_w2=0.08).tangent(24)
    exact = {
        "absolute": 1.0,
        "tangent": 2 / float(torch.linalg.eigvalsh(prediction.initial.tangent)[-1]),
        "population": 2 / float(torch.linalg.eigvalsh(h_inf)[-1]),
        "theorem": prediction.condition.eta_limit,
    }[unit]
    assert prediction.eta == pytest.approx(0.25 * exact, rel=1e-12)
    assert train(trial, DATA).summary["train/eta"] == prediction.eta
    assert forecast(config(unit, 0.5), DATA).eta == pytest.approx(2 * prediction.eta, rel=1e-12)


def test_the_theorems_unit_gives_its_slack():
    assert forecast(config("theorem"), DATA).theory()[0]["theory/slack_10"] == pytest.approx(4)


@pytest.mark.parametrize(
    ("trial", "start", "match"),
    [
        (config("theorem"), initial(1.0, norm_w=1.0), r"\|\|W\(0\)\|\|_2 < 1 .*choose tangent"),
        (config("tangent"), initial(0.0), r"lambda_max\(H\(0\)\) = 0.*eta_unit=absolute"),
        (
            config("population", sigma_w2=3.0, activation="relu", allow_ill_posed=True),
            initial(1.0),
            "eta_unit=population: the population .*choose tangent",
        ),
    ],
)
def test_a_missing_unit_is_refused_with_a_remedy(trial, start, match):
    with pytest.raises(ValueError, match=match) as error:
        step_size(trial, start, DATA)
    assert "\n" not in str(error.value)


def test_no_slack_of_condition_10_where_no_delta_satisfies_the_others():
    """G is singular: 9 inputs of a linear network in 3 dimensions."""
    data = load(SphereConfig(n=9, d=3, seed=1))
    linear = TrialConfig(
        model=ModelConfig(width=16, activation="identity"),
        train=TrainConfig(steps=2, eta=1e-6, eta_unit="absolute"),
    )
    summary, notes = forecast(linear, data).theory()
    assert summary["theory/condition_held"] == 0
    assert summary["theory/slack_9"] < 1e-9
    for name in ("slack_10", "delta", "c_a"):
        assert f"theory/{name}" not in summary
        assert "lambda_0 is not above 0" in notes[f"theory/{name}"]
