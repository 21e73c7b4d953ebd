"""The step size eta in absolute terms, from the unit a user asked for it in."""

from deq.convergence import Initial, initial_condition
from deq.data import Dataset
from deq.population import population
from deq.spectrum import greatest_eigenvalue
from deq.trial import TrialConfig


def step_size(config: TrialConfig, initial: Initial, dataset: Dataset) -> float:
    """eta in absolute terms.

    Raises:
        ValueError: the unit does not exist for this trial.
    """
    train, model = config.train, config.model
    if train.eta_unit == "absolute":
        return train.eta
    if train.eta_unit == "tangent":
        return train.eta * 2 / float(greatest_eigenvalue(initial.tangent))
    if train.eta_unit == "population":
        limit = population(
            dataset.x, model.activation, sigma_w2=model.sigma_w2, sigma_a=model.sigma_a
        )
        return train.eta * 2 / float(greatest_eigenvalue(limit.tangent(model.width)))
    condition = initial_condition(initial, model)
    if condition is None:
        raise ValueError(
            "train.eta_unit=theorem needs L ||W(0)||_2 < 1: choose tangent or absolute"
        )
    return train.eta * condition.eta_limit
