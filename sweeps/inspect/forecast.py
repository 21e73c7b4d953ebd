"""Theoretical predictions for composed trials before training, as a table or JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import deq
from sweeps.config.request import Request, trial_from_plain
from sweeps.config.texts import format_bytes
from sweeps.driver.terminal import Terminal
from sweeps.errors import ConfigError
from sweeps.metrics.shown import OF_FORECASTS, OF_NETWORKS, headings
from sweeps.planning.outcomes import format_number
from sweeps.planning.plan import PlannedTrial, integrator_cost, trials_of

# Steps to a loss are counted up to this number.
MAX_STEPS = 10**9


@dataclass(frozen=True)
class TrialForecast:
    """Predictions for one trial.

    Attributes:
        planned: the trial.
        metrics: predictions, by the names of a trained trial's summary metrics, and `cost/...`.
        notes: reasons why a prediction is absent, by its name.
        steps: GD steps to the given loss; None if more than MAX_STEPS.
        budget: value of train.steps.
    """

    planned: PlannedTrial
    metrics: dict[str, float]
    notes: dict[str, str]
    steps: int | None
    budget: int


def forecasts(request: Request, loss: float) -> Iterator[TrialForecast]:
    """Predict each trial; nothing is trained or written.

    Args:
        request: the composed command.
        loss: target of the count of steps, relative to the initial loss.

    Raises:
        ConfigError: the loss is not in (0, 1), or a trial has no forecast.
    """
    if not 0 < loss < 1:
        raise ConfigError(f"--loss={loss:g}: give a value in (0, 1), relative to the initial loss")
    deq.set_threads(request.launch.cluster.cpus_per_trial)
    return (_forecast(planned, loss) for planned in trials_of(request))


def _forecast(planned: PlannedTrial, loss: float) -> TrialForecast:
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
    steps = forecast.linearized.steps_to(loss, MAX_STEPS)
    return TrialForecast(planned, metrics, notes, steps, config.train.steps)


def to_json(trials: Sequence[TrialForecast], loss: float) -> str:
    """All numbers as JSON."""
    rows = [
        {"config_hash": trial.planned.config_hash, "trial": trial.planned.name}
        | {"metrics": trial.metrics, "steps_to_loss": trial.steps, "notes": trial.notes}
        for trial in trials
    ]
    return json.dumps({"loss": loss, "trials": rows}, indent=2, allow_nan=False)


def show(trials: Sequence[TrialForecast], loss: float, terminal: Terminal) -> None:
    """Print tables of the conditions, the rates and the cost, then reasons for absent numbers."""
    terminal.say("Slack of the theorem's conditions ((7) to (9) hold at 1 and above, (10) above 1)")
    _table(terminal, trials, OF_NETWORKS, {})
    terminal.say(
        "\nRates in nats per GD step (population and linearised over the budget's last half)"
    )
    steps = {f"steps to {loss:g}": [_steps(trial) for trial in trials]}
    _table(terminal, trials, OF_FORECASTS, steps)
    terminal.say("\nCost (lower end: three products a step; upper end: every solve starts at zero)")
    cost = {
        "products/step": [_range(trial, "products", ".0f") for trial in trials],
        "FLOP": [_range(trial, "flop", ".2g") for trial in trials],
        "memory": [format_bytes(trial.metrics["cost/bytes"]) for trial in trials],
        "budget in steps": [str(trial.budget) for trial in trials],
    }
    _table(terminal, trials, (), cost)
    terminal.say("\nProducts of the whole budget by train.integrator, estimated")
    _table(terminal, trials, (), _integrators(trials))
    for trial in trials:
        for name, reason in trial.notes.items():
            absent = "" if name in trial.metrics else "no "
            terminal.say(f"{trial.planned.name}: {absent}{name}: {reason}")


def _integrators(trials: Sequence[TrialForecast]) -> dict[str, list[str]]:
    """Columns of estimated products with either integrator, and the one to take."""
    costs = [integrator_cost(trial.planned) for trial in trials]
    return {
        "steps": [f"{cost.steps:.2g}" for cost in costs],
        "windows": [f"{cost.windows:.2g}" if cost.windows else "-" for cost in costs],
        "take": [cost.advice for cost in costs],
    }


def _table(
    terminal: Terminal,
    trials: Sequence[TrialForecast],
    metrics: Sequence[str],
    texts: dict[str, list[str]],
) -> None:
    """Print one row for each trial: metrics, then ready-made columns."""
    rows = [
        [
            trial.planned.name,
            *(format_number(trial.metrics.get(key)) for key in metrics),
            *(column[k] for column in texts.values()),
        ]
        for k, trial in enumerate(trials)
    ]
    terminal.table(["trial", *headings(metrics), *texts], rows, left=1)


def _steps(trial: TrialForecast) -> str:
    if trial.steps is None:
        return f"not within {MAX_STEPS:.0e}"
    return f"{trial.steps}" if trial.steps <= trial.budget else f"{trial.steps} (over the budget)"


def _range(trial: TrialForecast, name: str, form: str) -> str:
    """A cost from its lower to its upper end; "?" where the upper end is not known."""
    cold = trial.metrics.get(f"cost/{name}_cold")
    upper = "?" if cold is None else f"{cold:{form}}"
    return f"{trial.metrics[f'cost/{name}_floor']:{form}} - {upper}"
