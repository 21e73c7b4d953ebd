"""Networks of finite depth and their way to the equilibrium; docs/theory.md, section 10."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from deq.activations.lookup import activation
from deq.config import ModelConfig, TrialConfig
from deq.data import load
from deq.data.dataset import Dataset
from deq.linalg.eigenvalues import least_eigenvalue
from deq.linalg.operator_norm import operator_norm
from deq.models.equilibrium import draw
from deq.theory.flags import Numbers
from deq.theory.kernels import gram
from deq.theory.layers import layer_grams, layer_limits
from deq.theory.population import Population, limit_of
from deq.theory.rejection_sampling import starting_network
from deq.training.trained import Trained

# Changes below this share are not fitted: rounding would show in a factor of six digits.
ROUNDING = 1e-8
# Depths at which ||G^(l)/m - K||_F is a metric of its own.
DEPTHS = (1, 2, 4)
# K^(0) of the other start, in units of X^T X / d; its layers, and the change that ends them.
FAR, MOST, SETTLED = 10.0, 1000, 1e-12
# lambda_min(G^(l)) within this share of lambda_0 counts as its equilibrium's.
CLOSE = 0.01


@dataclass(frozen=True)
class FiniteDepth:
    """Networks of depth l = 1 .. L beside the equilibrium; lists have one number for each l.

    Attributes:
        lambda_0: lambda_min(G) at the equilibrium.
        lambda_star: lambda_min(K).
        change: ||G^(l) - G||_F / ||G||_F, tied weights: those of the trial's network.
        change_limit: ||K^(l) - K||_F / ||K||_F.
        error: ||G^(l)/m - K^(l)||_F, tied weights.
        error_untied: the same with weights W^(l) that are drawn anew for each layer.
        least, least_untied: lambda_min(G^(l)), tied and untied.
        least_limit: lambda_min(K^(l)).
        contraction: L ||W||_2: no more than this factor per layer in ||Z^(l) - Z||_F.
        contraction_limit: the same of ||K^(l) - K||_F for large l; see `limit_contraction`.
    """

    lambda_0: float
    lambda_star: float
    change: list[float]
    change_limit: list[float]
    error: list[float]
    error_untied: list[float]
    least: list[float]
    least_untied: list[float]
    least_limit: list[float]
    contraction: float
    contraction_limit: float

    @property
    def factor(self) -> float | None:
        """Factor per layer of `change`, fitted over its last half above rounding."""
        return _factor(self.change)

    @property
    def factor_limit(self) -> float | None:
        """Factor per layer of `change_limit`, fitted likewise."""
        return _factor(self.change_limit)

    @property
    def cut_half(self) -> int | None:
        """Depth from which lambda_min(G^(l)) >= lambda_0 / 2; None if beyond L."""
        return _cut_half(self.least, self.lambda_0)

    @property
    def cut_close(self) -> int | None:
        """Depth from which lambda_min(G^(l)) is within 1 percent of lambda_0; None if beyond L."""
        room = CLOSE * abs(self.lambda_0)
        return _from(self.least, lambda value: abs(value - self.lambda_0) <= room)


def finite_depth(config: TrialConfig, depth: int, dataset: Dataset | None = None) -> FiniteDepth:
    """Compare a trial's network at t = 0 with networks of depth 1 to `depth`.

    Args:
        config: the trial.
        depth: the greatest depth L.
        dataset: its inputs; by default those of `config.data`.

    Raises:
        ValueError: the depth is below 1, the data set cannot be used, or there is no
            equilibrium or no population limit.
    """
    if depth < 1:
        raise ValueError(f"the depth must be at least 1, not {depth}")
    dataset, model = dataset or load(config.data), config.model
    phi, x, m = activation(model.activation), dataset.x, model.width
    limit = limit_of(model, x)
    network = _network(config, dataset)
    g, p = gram(network.equilibrium(x)), network.u @ x
    tied = _first(depth, layer_grams(phi, p, lambda: network.w))
    limits = _first(depth, layer_limits(x, phi, model.sigma_w2))
    norm = float(operator_norm(network.w[None])[0])
    untied = _first(depth, layer_grams(phi, p, _UntiedWeights(network).next))
    return FiniteDepth(
        lambda_0=float(least_eigenvalue(g)),
        lambda_star=limit.lambda_star,
        change=_distances(tied, [g] * depth, g),
        change_limit=_distances(limits, [limit.gram] * depth, limit.gram),
        error=_distances([g / m for g in tied], limits),
        error_untied=_distances([g / m for g in untied], limits),
        least=_least(tied),
        least_untied=_least(untied),
        least_limit=_least(limits),
        contraction=phi.lipschitz * norm,
        contraction_limit=limit_contraction(model),
    )


def depth_numbers(
    config: TrialConfig, dataset: Dataset, norm_w: float, limit: Population | None
) -> Numbers:
    """Return a trial's metrics of networks of depth 1 to `diagnostics.depth`, and why some miss.

    Args:
        config: the trial.
        dataset: its inputs.
        norm_w: ||W||_2 at t = 0.
        limit: its population limit; None without one.
    """
    depth, phi = config.diagnostics.depth, activation(config.model.activation)
    if not depth:
        return {}, {}
    network = _network(config, dataset)
    try:
        z = network.equilibrium(dataset.x)
    except ValueError as error:
        return {}, {"theory/depth_factor": str(error)}
    g, p = gram(z), network.u @ dataset.x
    tied = _first(depth, layer_grams(phi, p, lambda: network.w))
    cut = _cut_half(_least(tied), float(least_eigenvalue(g)))
    numbers = _moments(network.a @ z, g.diagonal() / len(network.w)) | {
        "theory/depth_factor": _factor(_distances(tied, [g] * depth, g)),
        "theory/depth_bound": phi.lipschitz * norm_w,
        "theory/depth_half": None if cut is None else float(cut),
    }
    if limit is not None:
        numbers |= _beside_limit(network, dataset, tied, limit)
    why = f"networks of depth 1 to {depth} do not tell it: raise diagnostics.depth"
    notes = {name: why for name, value in numbers.items() if value is None}
    return {name: value for name, value in numbers.items() if value is not None}, notes


def _moments(outputs: Tensor, energies: Tensor) -> dict[str, float | None]:
    """Return what tells how Gaussian outputs are over many networks; docs/theory.md, section 13.

    Args:
        outputs: (n,) yhat.
        energies: (n,) diagonal of G / m.
    """
    return {
        "theory/output_square": float(outputs.square().mean()),
        "theory/output_fourth": float(outputs.pow(4).mean()),
        "theory/gram_diagonal": float(energies.mean()),
        "theory/gram_diagonal_square": float(energies.square().mean()),
    }


def _beside_limit(
    network: "_Network", dataset: Dataset, tied: Sequence[Tensor], limit: Population
) -> dict[str, float | None]:
    """Return the metrics of K^(l), and of G^(l) / m beside it and beside K."""
    model, depth, m = network.config.model, len(tied), len(network.w)
    limits = _first(depth, layer_limits(dataset.x, activation(model.activation), model.sigma_w2))
    change = _distances(limits, [limit.gram] * depth, limit.gram)
    scaled = [g / m for g in tied]
    far = dict(enumerate(_distances(scaled, [limit.gram] * depth), 1))
    return {
        "theory/depth_factor_limit": _factor(change),
        "theory/depth_bound_limit": limit_contraction(model),
        "theory/depth_error": max(_distances(scaled, limits)),
        "theory/kernel_gap": kernel_gap(dataset.x, model, limit),
    } | {f"theory/depth_error_{at}": far[at] for at in DEPTHS if at <= depth}


def kernel_gap(x: Tensor, model: ModelConfig, limit: Population) -> float | None:
    """Return ||K' - K||_F / ||K||_F, K' what K^(l) tends to from 10 X^T X / d instead of 0.

    Args:
        x: (d, n) float64 inputs.
        model: has the activation and sigma_w2.
        limit: has K.

    Returns:
        None if K^(l) still changes after 1000 layers.
    """
    before, size = FAR * (x.mT @ x) / len(x), float(torch.linalg.matrix_norm(limit.gram))
    layers = layer_limits(x, activation(model.activation), model.sigma_w2, before)
    for k in itertools.islice(layers, MOST):
        change, before = float(torch.linalg.matrix_norm(k - before)), k
        if change <= SETTLED * size:
            return float(torch.linalg.matrix_norm(k - limit.gram)) / size
    return None


def limit_contraction(model: ModelConfig) -> float:
    """Return the proven factor per layer of ||K^(l) - K||_F for large l.

    It is 2 sigma_w2 L^2 where phi(0) = 0, else the greater of this and sqrt(2 sigma_w2) L, that of
    the variances q^(l).
    """
    phi = activation(model.activation)
    entries = 2 * model.sigma_w2 * phi.lipschitz**2
    return entries if phi.at_zero == 0 else max(entries, math.sqrt(entries))


class _Network(NamedTuple):
    """A trial's network at t = 0, in float64 whatever its dtype is, to resolve small changes."""

    config: TrialConfig
    w: Tensor
    u: Tensor
    a: Tensor

    def equilibrium(self, x: Tensor) -> Tensor:
        """Return Z (m, n)."""
        return Trained(*self).equilibrium(x)


def _network(config: TrialConfig, dataset: Dataset) -> _Network:
    return _Network(config, *starting_network(config, dataset))


class _UntiedWeights:
    """Draws the W of further layers from the trial's stream, after its first network."""

    def __init__(self, network: _Network) -> None:
        self._model = network.config.model
        self._stream = torch.Generator().manual_seed(network.config.seed)
        self._parts = [torch.empty_like(part) for part in (network.w, network.u, network.a)]
        draw(self._model, self._stream, *self._parts)

    def next(self) -> Tensor:
        """Return the next network's W; its storage is used again."""
        draw(self._model, self._stream, *self._parts)
        return self._parts[0]


def _first(depth: int, layers: Iterator[Tensor]) -> list[Tensor]:
    return list(itertools.islice(layers, depth))


def _distances(
    ours: Sequence[Tensor], others: Sequence[Tensor], unit: Tensor | None = None
) -> list[float]:
    """Frobenius norms of differences, relative to `unit`'s."""
    size = 1.0 if unit is None else float(torch.linalg.matrix_norm(unit))
    pairs = zip(ours, others, strict=True)
    return [float(torch.linalg.matrix_norm(one - other)) / size for one, other in pairs]


def _least(grams: Sequence[Tensor]) -> list[float]:
    return [float(least_eigenvalue(g)) for g in grams]


def _factor(changes: Sequence[float]) -> float | None:
    """Geometric factor: exp of the slope of log change over the last half above rounding."""
    points = [(layer, math.log(v)) for layer, v in enumerate(changes) if v > ROUNDING]
    points = points[len(points) // 2 :]
    if len(points) < 2:
        return None
    (first, start), (last, stop) = points[0], points[-1]
    return math.exp((stop - start) / (last - first))


def _cut_half(least: Sequence[float], lambda_0: float) -> int | None:
    return _from(least, lambda value: value >= lambda_0 / 2)


def _from(values: Sequence[float], holds: Callable[[float], bool]) -> int | None:
    """First depth from which on all values have the property; None if the last has not."""
    failing = [depth for depth, value in enumerate(values, 1) if not holds(value)]
    depth = failing[-1] + 1 if failing else 1
    return depth if depth <= len(values) else None
