"""A trained DEQ: its equilibria, predictions and Gram matrices at any inputs.

Z = phi(W Z + U X), yhat = a^T Z (docs/theory.md, section 1).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from deq.activations.activation import Activation
from deq.activations.lookup import activation
from deq.config import TrialConfig
from deq.models.equilibrium import AdjointMap, EquilibriumMap
from deq.solvers.by_name import SOLVERS
from deq.solvers.fixed_point import Map, solve
from deq.solvers.solution import Solved
from deq.theory.kernels import gram, tangent

# The tolerance in units of rounding, and the most maps from a cold start.
RESOLVED, MOST_MAPS = 8.0, 10_000


@dataclass(frozen=True)
class Trained:
    """A trained model, to be evaluated at any inputs.

    Inputs x are (d, n), samples as columns, and are not normalised here. Training used
    columns of one norm, see `deq.load(config.data).x`; of centred images the mean of the
    training samples was subtracted first. Fixed points are solved by the trial's own solver, as
    precisely as the weights' dtype allows.

    Attributes:
        config: the trial.
        w, u, a: W (m, m), U (m, d), a (m,).
    """

    config: TrialConfig
    w: Tensor
    u: Tensor
    a: Tensor

    def equilibrium(self, x: Tensor) -> Tensor:
        """Return Z (m, n) with Z = phi(W Z + U X).

        Args:
            x: (d, n) tensor, finite.

        Raises:
            ValueError: x has another shape or is not finite, or there is no equilibrium.
        """
        return self._activation.function(self._preactivation(x)).T

    def predict(self, x: Tensor) -> Tensor:
        """Return yhat = a^T Z, (n,).

        Raises:
            ValueError: as `equilibrium`.
        """
        return self.a @ self.equilibrium(x)

    def gram(self, x: Tensor) -> Tensor:
        """Return G = Z^T Z, (n, n) float64.

        Raises:
            ValueError: as `equilibrium`.
        """
        return gram(self.equilibrium(x))

    def tangent(self, x: Tensor) -> Tensor:
        """Return H = J J^T, (n, n) float64, J the Jacobian of yhat in (W, U, a).

        With factors of the step size (`train.factor_w`, ...) each block of H is multiplied by its
        factor: it is the kernel that the trial's gradient descent follows.

        Raises:
            ValueError: as `equilibrium`, or there is no adjoint.
        """
        q = self._preactivation(x)
        z = self._activation.function(q)
        mask = self._activation.derivative_at(q, z)
        start = self.a.repeat(len(q), 1)
        v = self._solve(AdjointMap(self.w[None], self.a[None], mask[None]), start, "adjoint")
        x = x.double()
        steps = self.config.block_steps(self.u.shape[1])
        return tangent(gram(z.T), gram((mask * v).T), x.T @ x, steps)

    @property
    def _activation(self) -> Activation:
        model = self.config.model
        return activation(model.activation, sha256=model.activation_sha256)

    def _preactivation(self, x: Tensor) -> Tensor:
        """Return Q = W Z + U X, (n, m), one row for each sample."""
        d = self.u.shape[1]
        if not isinstance(x, Tensor):
            raise ValueError(f"x must be a torch tensor, ({d}, n), not a {type(x).__name__}")
        if x.ndim != 2 or x.shape[0] != d or not x.shape[1] or not x.isfinite().all():
            raise ValueError(
                f"x must be finite and ({d}, n), samples as columns, n at least 1: {tuple(x.shape)}"
            )
        p = (self.u @ x.to(self.u.dtype)).T.contiguous()
        f = EquilibriumMap(self._activation, self.w[None], p[None])
        return self._solve(f, p.clone(), "equilibrium")

    def _solve(self, f: Map, start: Tensor, which: str) -> Tensor:
        least = RESOLVED * torch.finfo(start.dtype).eps
        solution = solve(
            f,
            start[None],
            (torch.empty_like(start)[None], torch.empty_like(start)[None]),
            tol=torch.tensor([least], dtype=torch.float64),
            max_steps=MOST_MAPS,
            step=SOLVERS[self.config.solver.name](),
        )
        solved, residual = solution.solved[0], solution.residual[0]
        good = solved is Solved.STAGNATED and residual <= self.config.solver.tol
        if solved is not Solved.CONVERGED and not good:
            raise ValueError(f"there is no {which} at these inputs: {solved.advice}")
        return solution.value[0]
