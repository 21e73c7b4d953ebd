"""Predictions at held-out samples: of the network, of its linearisation and of the kernels.

Source: docs/theory.md, section 9.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from deq.config import TrialConfig
from deq.data.dataset import Dataset
from deq.theory.convergence import Initial
from deq.theory.flags import Numbers
from deq.theory.population import limit_of
from deq.training.trained import Trained
from deq.training.weights import Weights

# eta h below which (1 - (1 - eta h)^T) / (eta h) is T, to rounding.
_TINY = 1e-300
# Tensors of the held-out samples, by name: see `start` and `end`.
HeldOut = dict[str, Tensor]


class Dynamics(NamedTuple):
    """Step size, number of steps and momentum of gradient descent."""

    eta: float
    steps: float
    momentum: float = 0.0


def start(config: TrialConfig, dataset: Dataset, weights: Weights) -> HeldOut:
    """Return what is read of a network at t = 0 at the held-out samples.

    Returns:
        `start`: (k,) yhat(0); `tangent`: (k, n) H(0) between held-out and training samples.
        Empty where they have no equilibrium or adjoint.
    """
    assert dataset.test is not None
    network, n = _network(config, weights), dataset.x.shape[1]
    try:
        tangent = network.tangent(torch.cat([dataset.x, dataset.test.x], dim=1))
        first = network.predict(dataset.test.x).double()
    except ValueError:
        return {}
    return {"start": first, "tangent": tangent[n:, :n].clone()}


def end(config: TrialConfig, dataset: Dataset, weights: Weights) -> HeldOut:
    """Return `end`, (k,) yhat at the held-out samples when a trial ends; empty as in `start`."""
    assert dataset.test is not None
    try:
        return {"end": _network(config, weights).predict(dataset.test.x).double()}
    except ValueError:
        return {}


def losses(
    config: TrialConfig, dataset: Dataset, initial: Initial, held_out: HeldOut, at: Dynamics
) -> Numbers:
    """Return the losses 1/2 mean (yhat - y)^2 over the held-out samples, by metric name.

    Args:
        config: the trial.
        dataset: its samples.
        initial: its network at t = 0.
        held_out: `start` and `end` of the trial.
        at: absolute step size and number of GD steps of the linearised network.
    """
    test = dataset.test
    if test is None:
        return {}, {}
    summary: dict[str, float] = {}
    notes: dict[str, str] = {}
    if "start" in held_out and "end" in held_out:
        first, tangent = held_out["start"], held_out["tangent"]
        moved = first + tangent @ weights_after(initial.tangent, -initial.error, at)
        summary["test/loss"] = _loss(held_out["end"], test.y)
        summary["test/loss_linearized"] = _loss(moved, test.y)
    else:
        notes["test/loss"] = "the held-out samples have no equilibrium"
    kernels, why = _kernels(config, dataset, test)
    for name, kernel in kernels.items():
        n = len(dataset.y)
        fitted = kernel[n:, :n] @ torch.linalg.solve(kernel[:n, :n], dataset.y)
        summary[name] = _loss(fitted, test.y)
    return summary, notes | ({"test/loss_population": why, "test/loss_gram": why} if why else {})


def weights_after(kernel: Tensor, y: Tensor, at: Dynamics) -> Tensor:
    """Return alpha (n,) of kernel gradient descent, whose prediction at x is k(x, X) alpha.

    alpha = sum_k u_k (1 - (1 - eta h_k)^T) / h_k u_k^T y after T steps from 0. As T grows it
    becomes kernel^-1 y, that of kernel regression. With momentum the steps are taken one by one.

    Args:
        kernel: (n, n) = sum_k h_k u_k u_k^T.
        y: (n,) targets.
        at: eta, T and momentum.
    """
    h, u = torch.linalg.eigh(kernel)
    if at.momentum:
        target = u.mT @ y
        modes = before = torch.zeros_like(target)
        for _ in range(int(at.steps)):
            step = at.eta * (target - h * modes) + at.momentum * (modes - before)
            modes, before = modes + step, modes
        combined: Tensor = u @ modes
        return combined
    x = at.eta * h
    filled = torch.where(x < 1, -torch.expm1(at.steps * torch.log1p(-x)), 1 - (1 - x) ** at.steps)
    share = torch.where(x.abs() > _TINY, filled / x, float(at.steps))  # in units of eta
    alpha: Tensor = u @ (at.eta * share * (u.mT @ y))
    return alpha


def _kernels(config: TrialConfig, dataset: Dataset, test: Dataset) -> tuple[dict[str, Tensor], str]:
    """Return H_inf and K between all samples, by metric name, or why there are none."""
    model, both = config.model, torch.cat([dataset.x, test.x], dim=1)
    try:
        limit, own = limit_of(model, both), limit_of(model, dataset.x)
    except ValueError as error:
        return {}, str(error)
    if not own.resolved:
        return {}, "lambda_star is not resolved, so K cannot be inverted"
    steps = config.block_steps(len(dataset.x))
    tangent = limit.tangent(model.width, steps)
    return {"test/loss_population": tangent, "test/loss_gram": limit.gram}, ""


def _network(config: TrialConfig, weights: Weights) -> Trained:
    return Trained(config, weights.w, weights.u, weights.a)


def _loss(prediction: Tensor, y: Tensor) -> float:
    return 0.5 * float((prediction - y).square().mean())
