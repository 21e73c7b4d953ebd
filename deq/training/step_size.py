"""The absolute step size eta, from `train.eta` and its unit; docs/theory.md, section 6."""

from deq.config import TrialConfig
from deq.data.dataset import Dataset
from deq.linalg.eigenvalues import greatest_eigenvalue
from deq.theory.convergence import Initial, InitialCondition, initial_condition, theorem_step
from deq.theory.population import limit_of


def step_size(config: TrialConfig, initial: Initial, dataset: Dataset) -> float:
    """Return the absolute step size: `train.eta` times its unit (see TrainConfig).

    Args:
        config: the trial.
        initial: its network at t = 0.
        dataset: its inputs.

    Raises:
        ValueError: the unit does not exist for this trial.
    """
    return config.train.eta * _unit(config, initial, dataset)


def trial_condition(config: TrialConfig, initial: Initial, eta: float) -> InitialCondition | None:
    """Return the theorem's conditions that are reported for a trial.

    With `train.eta_unit=theorem` the delta is the one that the step size was taken from,
    else the one with the greatest least slack of (7) to (10).

    Args:
        config: the trial.
        initial: its network at t = 0.
        eta: its absolute step size.

    Returns:
        None if L ||W(0)||_2 >= 1, so that there is no delta.
    """
    if config.train.eta_unit == "theorem":
        return theorem_step(initial, config.model)
    return initial_condition(initial, config.model, eta)


def _unit(config: TrialConfig, initial: Initial, dataset: Dataset) -> float:
    unit, model = config.train.eta_unit, config.model
    if unit == "absolute":
        return 1.0
    if unit == "tangent":
        return _stability_limit(float(greatest_eigenvalue(initial.tangent)), "H(0)")
    if unit == "population":
        try:
            limit = limit_of(model, dataset.x)
        except ValueError as error:
            raise ValueError(
                f"train.eta_unit=population: {error}; choose tangent or absolute"
            ) from error
        steps = config.block_steps(len(dataset.x))
        top = float(greatest_eigenvalue(limit.tangent(model.width, steps)))
        return _stability_limit(top, "H_inf")
    condition = theorem_step(initial, model)
    if condition is None:
        raise ValueError(
            "train.eta_unit=theorem needs L ||W(0)||_2 < 1 "
            f"(||W(0)||_2 = {initial.norm_w:.4g}): choose tangent or absolute"
        )
    return condition.eta_limit


def _stability_limit(top: float, name: str) -> float:
    """Return 2 / lambda_max, below which gradient descent on the linearised model is stable."""
    if top <= 0:
        raise ValueError(
            f"lambda_max({name}) = {top:.3g}, so 2 / lambda_max is no step size: "
            "choose train.eta_unit=absolute, or a larger model.width"
        )
    return 2 / top
