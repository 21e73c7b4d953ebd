"""Predictors of the fixed points at the next GD step.

A prediction saves products and never costs accuracy, because the stopping rule uses the true
residual. Each sample is predicted independently of the pack. Shapes: (B, n, m).
"""

from typing import Protocol

import torch
from torch import Tensor

from deq.solvers.sizes import PREDICTION_DEPTH


class Predictor(Protocol):
    """Predicts the next state of a pack from the states before."""

    last: Tensor

    def start(self, out: Tensor, scratch: Tensor) -> Tensor:
        """Write the start of the next solve to `out` and return it."""

    def push(self, state: Tensor, scratch: Tensor) -> Tensor:
        """Add a solved state and own its storage; return storage that is free."""

    def select(self, keep: list[int]) -> None:
        """Keep these trials only."""


class Basis:
    """The last PREDICTION_DEPTH vectors of each sample, the newest first, for fits.

    Their inner products are stored: a new vector costs PREDICTION_DEPTH + 1 passes.
    """

    STATE = ("vectors", "inner")

    def __init__(self, like: Tensor) -> None:
        depth, eps = PREDICTION_DEPTH, torch.finfo(like.dtype).eps
        self.vectors = [torch.zeros_like(like) for _ in range(depth)]
        self.inner = like.new_zeros(*like.shape[:2], depth * depth, 1, dtype=torch.float64)
        eye = torch.eye(depth, dtype=torch.float64, device=like.device)
        self._ridge = eps * eye
        self._shift = torch.tensor(_shifted_places(depth), device=like.device)

    def products(self, target: Tensor, scratch: Tensor) -> Tensor:
        """Return the inner products of each target with itself, then with the vectors.

        float64 (B, n, PREDICTION_DEPTH + 1, 1).
        """
        return torch.stack(
            [
                torch.mul(target, v, out=scratch).sum(-1, keepdim=True)
                for v in (target, *self.vectors)
            ],
            dim=-2,
        ).double()

    def fit(self, products: Tensor) -> Tensor:
        """Return the c (B, n, PREDICTION_DEPTH, 1) that minimises ||target - sum_j c_j v_j||.

        In float64, with a ridge of one unit of rounding of all vectors' size: they are nearly
        collinear once a single mode is left. With a ridge of each vector's own size a GD step
        at m 1024 in float32 takes 3.2 maps, with this one 2.0.
        """
        inner = self.inner.view(*products.shape[:2], PREDICTION_DEPTH, PREDICTION_DEPTH)
        size = inner.diagonal(dim1=-2, dim2=-1).sum(-1)
        normal = torch.addcmul(inner, self._ridge, size[..., None, None])
        c: Tensor = torch.linalg.solve_ex(normal, products[..., 1:, :]).result
        # LAPACK's strides are not those that a checkpoint restores: hence a new last axis.
        return c[..., 0].nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)[..., None]

    def push(self, vector: Tensor, products: Tensor) -> Tensor:
        """Add a vector with its products; return the storage of the one that drops out."""
        self.vectors.insert(0, vector)
        self.inner = torch.cat((products, self.inner), dim=-2).index_select(-2, self._shift)
        return self.vectors.pop()

    def select(self, keep: list[int]) -> None:
        """Keep these trials only."""
        self.vectors = [v[keep] for v in self.vectors]
        self.inner = self.inner[keep]


def _shifted_places(depth: int) -> list[int]:
    """Return where the inner products of a basis are after a push, in rows.

    Places in the depth + 1 products of the new vector, followed by the inner products before.
    """
    return [
        max(i, j) if min(i, j) == 0 else depth + 1 + (i - 1) * depth + j - 1
        for i in range(depth)
        for j in range(depth)
    ]


class Extrapolation:
    """Per-sample linear prediction, for states that move smoothly.

    The differences d_t = x_t - x_{t-1} nearly obey a linear recurrence: d_t is fitted by
    the PREDICTION_DEPTH before it, and the same coefficients are applied once more.
    """

    STATE = ("last", "differences", "coefficients")

    def __init__(self, first: Tensor) -> None:
        self.last = first
        self.differences = Basis(first)
        self.coefficients = first.new_zeros(*first.shape[:2], PREDICTION_DEPTH, 1)

    def start(self, out: Tensor, scratch: Tensor) -> Tensor:
        """Write x_t + sum_j c_j d_{t+1-j} to `out` and return it."""
        del scratch
        return _add_multiples(self.last, self.differences.vectors, self.coefficients, out)

    def push(self, state: Tensor, scratch: Tensor) -> Tensor:
        """Add x_t, and fit the coefficients."""
        basis, d, self.last = self.differences, self.last, state
        torch.sub(state, d, out=d)
        products = basis.products(d, scratch)
        self.coefficients = basis.fit(products).to(state.dtype)
        return basis.push(d, products)

    def select(self, keep: list[int]) -> None:
        """Keep these trials only."""
        self.last, self.coefficients = self.last[keep], self.coefficients[keep]
        self.differences.select(keep)


class Secant:
    """Multi-secant prediction, for states whose next source is known.

    A GD step changes the map by a known amount: `source` s = f_new(x) - x to first order in
    the step. The new state is x + A s, A = (I - f'(x))^{-1}. A is known on the s_j of the
    steps before, by the pairs (s_j, d_j = A s_j). s is fitted by the s_j, and A is replaced
    by I on the remainder:

        x + s + sum_j c_j (d_j - s_j).

    Unlike extrapolation this includes the jumps at the kinks of phi.
    """

    STATE = ("last", "source", "sources", "excesses", "_products")

    def __init__(self, first: Tensor) -> None:
        self.last = first
        self.source = torch.zeros_like(first)  # must be written before every start
        self.sources = Basis(first)
        self.excesses = [torch.zeros_like(first) for _ in range(PREDICTION_DEPTH)]  # d_j - s_j
        self._products = first.new_zeros(
            *first.shape[:2], PREDICTION_DEPTH + 1, 1, dtype=torch.float64
        )

    def start(self, out: Tensor, scratch: Tensor) -> Tensor:
        """Write x + s + sum_j c_j (d_j - s_j) to `out`; s is `source`, zero if unknown."""
        self._products = self.sources.products(self.source, scratch)
        c = self.sources.fit(self._products).to(out.dtype)
        torch.add(self.last, self.source, out=out)
        return _add_multiples(out, self.excesses, c, out)

    def push(self, state: Tensor, scratch: Tensor) -> Tensor:
        """Add x + d."""
        del scratch
        excess = torch.sub(state, self.last, out=self.last).sub_(self.source)
        self.last = state
        self.source = self.sources.push(self.source, self._products)
        self.excesses.insert(0, excess)
        return self.excesses.pop()

    def select(self, keep: list[int]) -> None:
        """Keep these trials only."""
        self.last, self.source = self.last[keep], self.source[keep]
        self.excesses = [e[keep] for e in self.excesses]
        self.sources.select(keep)


def _add_multiples(x: Tensor, vectors: list[Tensor], c: Tensor, out: Tensor) -> Tensor:
    """Write x + sum_j c_j v_j to `out` and return it; c is (B, n, k, 1)."""
    for vector, factor in zip(vectors, c.unbind(-2), strict=True):
        x = torch.addcmul(x, vector, factor, out=out)
    return out
