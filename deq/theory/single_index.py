"""The minimum that a single-index DEQ reaches: width 1, ReLU, labels relu(beta . x).

Source: derived in docs/theory.md, section 16.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deq.config import TrialConfig
from deq.data.dataset import Dataset
from deq.data.labels import index_direction
from deq.theory.flags import Numbers
from deq.theory.rejection_sampling import starting_network

RATE = "rate/single_index"


@dataclass(frozen=True)
class Minimum:
    """A minimum of loss 0, where yhat = a relu(u . x) / (1 - w) = relu(beta . x).

    Attributes:
        gap: 1 - w.
        u: (d,) float64.
        a: positive.
        eigenvalues: (d,) float64, the non-zero eigenvalues of H, ascending.
    """

    gap: float
    u: Tensor
    a: float
    eigenvalues: Tensor

    def distance(self, w: float, u: Tensor, a: float) -> float:
        """Return the distance of weights from the minimum, over w, u and a."""
        change = torch.linalg.vector_norm(u - self.u)
        return math.hypot(1 - w - self.gap, float(change), a - self.a)

    def rate(self, eta: float) -> float | None:
        """Return the rate of the slowest mode, nats per GD step; None if one does not decay."""
        slowest = float((1 - eta * self.eigenvalues).abs().amax())
        return -2 * math.log(slowest) if 0 < slowest < 1 else None


def minimum(x: Tensor, beta: Tensor, w: float, u: Tensor, a: float) -> Minimum:
    """Return the minimum of loss 0 that gradient flow from these weights can end at.

    It is the only one on the conserved sphere and circle.

    Args:
        x: (d, n) inputs, float64.
        beta: (d,) of the labels relu(beta . x).
        w: recurrent weight.
        u: (d,) float64.
        a: output weight.

    Raises:
        ValueError: there is none, or it is not unique; the message says why.
    """
    if w >= 1:
        raise ValueError("w(0) >= 1: not every sample has one equilibrium")
    if not bool((u @ x > 0).any()):
        raise ValueError(
            "the network does not move: no input has u(0) . x > 0, so that all gradients are 0"
        )
    active = x[:, beta @ x > 0]
    if not active.shape[1]:
        raise ValueError(
            "no sample is active at the minimum: no input has beta . x > 0, all labels are 0"
        )
    if int(torch.linalg.matrix_rank(active)) < len(x):
        raise ValueError(
            "the minimum is not unique: the inputs with beta . x > 0 do not span all dimensions"
        )
    if a < 0 and -a >= float(torch.linalg.vector_norm(u)):
        raise ValueError(
            "no minimum of loss 0 is reached: a(0) <= -||u(0)||, so that a keeps its sign"
        )
    circle = (1 - w) ** 2 + a**2
    sphere = (1 - w) ** 2 + float(u.square().sum())
    half = (circle + sphere + float(beta.square().sum())) / 2
    # The smaller root of s^2 - 2 half s + circle sphere, without cancellation.
    square = circle * sphere / (half + math.sqrt(half**2 - circle * sphere))
    gap, output = math.sqrt(square), math.sqrt(circle - square)
    metric = (output / gap) ** 2 * torch.eye(len(x), dtype=torch.float64)
    metric += (1 / gap**2 + 1 / output**2) * torch.outer(beta, beta)
    # H = X_A^T M X_A has the non-zero eigenvalues of L^T X_A X_A^T L, where M = L L^T.
    root = active.T @ torch.linalg.cholesky(metric)
    return Minimum(gap, gap / output * beta, output, torch.linalg.eigvalsh(root.T @ root))


def single_index_numbers(config: TrialConfig, dataset: Dataset, eta: float) -> Numbers:
    """Return what gradient flow from a trial's network predicts of its end.

    Args:
        config: the trial.
        dataset: its inputs.
        eta: its absolute step size.

    Returns:
        Nothing for other labels than those of a single-index model.
    """
    if config.data.labels != "single_index":
        return {}, {}
    model = config.model
    if not (model.width == 1 and model.activation == "relu" and config.train.plain):
        why = (
            "model.width=1, model.activation=relu and full-batch gradient descent of one step size"
        )
        return {}, {RATE: f"it is known for {why} only"}
    w, u, a = starting_network(config, dataset)
    network = float(w), u[0], float(a)
    beta = torch.zeros_like(u[0])
    d = len(beta) - (config.data.bias > 0)
    beta[:d] = index_direction(config.data.label_seed, d)
    try:
        end = minimum(dataset.x, beta, *network)
    except ValueError as error:
        return {}, {RATE: str(error)}
    numbers = {"theory/minimum_distance": end.distance(*network)}
    rate = end.rate(eta)
    if rate is None:
        top = eta * float(end.eigenvalues[-1])
        return numbers, {
            RATE: f"the minimum is not stable at this step size: eta lambda_max(H) = {top:.3g}"
        }
    return numbers | {RATE: rate}, {}
