"""What the theory says of composed trials before any is trained, as a table."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import deq
from sweeps.config.nested import format_bytes
from sweeps.config.request import Request, trial_from_plain
from sweeps.driver.terminal import Terminal
from sweeps.errors import ConfigError
from sweeps.planning.outcomes import format_number
from sweeps.planning.plan import PlannedTrial, trials_of

# A loss that takes longer than this is called out of reach.
MOST_STEPS = 10**9

CONDITIONS = {
    "(7)": "theory/slack_7",
    "(8)": "theory/slack_8",
    "(9)": "theory/slack_9",
    "(10)": "theory/slack_10",
    "delta": "theory/delta",
    "lambda_0/m": "theory/lambda_0_over_m",
    "lambda_*": "theory/lambda_star",
}
RATES = {
    "bound": "rate/bound",
    "population": "rate/population",
    "linearised": "rate/linearized",
    "asymptotic": "rate/asymptotic",
    "eta": "train/eta",
}


@dataclass(frozen=True)
class TrialForecast:
    """What the theory says of one trial.

    Attributes:
        planned: the trial.
        metrics: by the names that a trained trial's summary has, and `cost/...`.
        notes: why a number is absent, by its name.
        steps: GD steps to the loss asked for; None when not within MOST_STEPS.
        budget: train.steps.
    """

    planned: PlannedTrial
    metrics: dict[str, float]
    notes: dict[str, str]
    steps: int | None
    budget: int


def say(request: Request, loss: float) -> Iterator[TrialForecast]:
    """What the theory says of each trial; nothing is trained and nothing written.

    Args:
        request: the composed command.
        loss: the loss, relative to the initial one, that steps are counted to.

    Raises:
        ConfigError: the loss is not in (0, 1), or a trial has no forecast.
    """
    if not 0 < loss < 1:
        raise ConfigError(f"--loss={loss:g} is relative to the initial loss: give one in (0, 1)")
    deq.set_threads(request.launch.cluster.cpus_per_trial)
    return (_of_trial(planned, loss) for planned in trials_of(request))


def _of_trial(planned: PlannedTrial, loss: float) -> TrialForecast:
    config = trial_from_plain(planned.plain)
    try:
        forecast = deq.forecast(config)
    except ValueError as error:
        raise ConfigError(f"{planned.name}: {error}") from error
    metrics, notes = forecast.theory()
    rates, absent = forecast.rates(*deq.last_half(config.train.steps))
    metrics, notes = metrics | rates, notes | absent
    costs = asdict(deq.cost(forecast))
    metrics |= {f"cost/{name}": value for name, value in costs.items() if value is not None}
    steps = forecast.linearized.steps_to(loss, MOST_STEPS)
    return TrialForecast(planned, metrics, notes, steps, config.train.steps)


def to_json(said: Sequence[TrialForecast], loss: float) -> str:
    """All numbers, for scripts."""
    trials = [
        {"config_hash": one.planned.config_hash, "trial": one.planned.name}
        | {"metrics": one.metrics, "steps_to_loss": one.steps, "notes": one.notes}
        for one in said
    ]
    return json.dumps({"loss": loss, "trials": trials}, indent=2, allow_nan=False)


def show(said: Sequence[TrialForecast], loss: float, terminal: Terminal) -> None:
    """Print the conditions, the rates and the cost, and why a number is absent."""
    terminal.say("Slack of the theorem's conditions (met at 1 and above)")
    _table(terminal, said, CONDITIONS, {})
    terminal.say(
        "\nRates in nats per GD step (population, linearised: over the budget's last half)"
    )
    _table(terminal, said, RATES, {f"steps to {loss:g}": [_reach(one) for one in said]})
    terminal.say("\nCost (from the floor of three products to solves that start cold)")
    spent = {
        "products/step": [_products(one) for one in said],
        "FLOP": [_between(one, "cost/flop_floor", "cost/flop_cold") for one in said],
        "memory": [format_bytes(one.metrics["cost/bytes"]) for one in said],
        "budget in steps": [str(one.budget) for one in said],
    }
    _table(terminal, said, {}, spent)
    for one in said:
        for name, why in one.notes.items():
            terminal.say(f"{one.planned.name}: no {name}: {why}")


def _table(
    terminal: Terminal,
    said: Sequence[TrialForecast],
    numbers: dict[str, str],
    texts: dict[str, list[str]],
) -> None:
    rows = [
        [
            one.planned.name,
            *(format_number(one.metrics.get(key)) for key in numbers.values()),
            *(column[k] for column in texts.values()),
        ]
        for k, one in enumerate(said)
    ]
    terminal.table(["trial", *numbers, *texts], rows, left=1)


def _reach(one: TrialForecast) -> str:
    if one.steps is None:
        return f"not within {MOST_STEPS:.0e}"
    return f"{one.steps}" if one.steps <= one.budget else f"{one.steps} (past the budget)"


def _products(one: TrialForecast) -> str:
    floor, cold = one.metrics["cost/products_floor"], one.metrics.get("cost/products_cold")
    return f"{floor:.0f} - ?" if cold is None else f"{floor:.0f} - {cold:.0f}"


def _between(one: TrialForecast, low: str, high: str) -> str:
    cold = one.metrics.get(high)
    return f"{one.metrics[low]:.2g} - " + ("?" if cold is None else f"{cold:.2g}")
