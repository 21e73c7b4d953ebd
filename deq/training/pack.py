"""The numerics of a pack of DEQs under full-batch gradient descent.

The gradients are in closed form (docs/theory.md, section 1): with e = yhat - y, D the
derivative mask and V = a 1^T + W^T (D * V), R = D * V,

    grad_W = (R diag(e)) Z^T,  grad_U = (R diag(e)) X^T,  grad_a = Z e.

A GD step costs the products of its two fixed points and one more for grad_W, which is
subtracted from W in place. U is not formed: P = U X is updated through X^T X, and U is
computed from it on request (see weights). P, Z, V and R are (B, n, m), one row for each
sample.
"""

import copy
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from deq.activations.lookup import activation
from deq.config import TrialConfig
from deq.data.dataset import Dataset
from deq.linalg.operator_norm import operator_norm
from deq.models.equilibrium import AdjointMap, EquilibriumMap
from deq.solvers.by_name import SOLVERS
from deq.solvers.fixed_point import Map, solve
from deq.solvers.mixed import Affine, MixedMap
from deq.solvers.prediction import Extrapolation, Predictor, Secant
from deq.solvers.solution import Solution
from deq.theory.rejection_sampling import Networks, draw_networks
from deq.training.state import State, load_state_dict
from deq.training.velocity import Velocity, move_to_front
from deq.training.weights import Weights, input_weights

# Greatest share of rms(e) by which errors in the equilibria may move a prediction.
SHARE = 1e-3
# Least tolerance, in units of rounding.
RESOLVED = 8.0
# Most changed mask entries per sample, on average, that are corrected one by one.
FLIPS = 8
# Attributes of a pack whose storage is overwritten before it is read.
SCRATCH = ("buffers", "spare")
# Rows of the gradient in W that are formed at once when its norm is checked.
ROWS = 64


class Pack:
    """B trials of one shape: their weights, fixed points and predictions.

    Attributes:
        w: (B, m, m); a: (B, m); p: (B, n, m), P = U X.
        eta: (B,) float64, NaN until it is known; y: (B, n) float64.
        z, mask, r: (B, n, m), Z, D and R at the last equilibria and adjoints.
        e: (B, n), yhat - y.
        tol: (B,) float64, the relative tolerance of the next fixed points.
        tol_wanted: (B,) float64, what `tol` would be if the dtype resolved it.
        norm_w: (B,) float64, ||W||_2 or an upper bound where products are mixed; else NaN.
        flipped: (B,) samples whose mask changed at a kink since the step before.
        steps: factors of the step size of W, U and a.
        velocity: the heavy ball's; None without momentum.
        batch_weights: (B, n) weights of the samples in the next step's gradient; None: all are 1.
    """

    SCALARS = ("eta", "norm_w", "tol", "tol_wanted", "flipped")  # one for each trial
    BATCHED = (*SCALARS, "xx", "y", "w", "a", "p", "z", "r", "e")
    STATE = (*BATCHED, "mask", "norm_x", "norm_u", "forward", "adjoint", "velocity")

    def __init__(
        self,
        configs: Sequence[TrialConfig],
        datasets: Sequence[Dataset],
        device: torch.device,
        on_drawn: Callable[[Networks], None] = lambda networks: None,
    ) -> None:
        """Draw the networks, which `on_drawn` is called with."""
        config = configs[0]
        dtype = config.torch_dtype
        self._set_rules(config, datasets[0].x.shape[0])
        x = torch.stack([s.x for s in datasets]).to(device)  # (B, d, n) float64
        self.xx = x.mT @ x
        self.y = torch.stack([s.y for s in datasets]).to(device)
        networks = draw_networks(configs, datasets, device)
        on_drawn(networks)
        self.w, u, self.a = networks[:3]
        del networks
        self.norm_x: list[float] = torch.linalg.matrix_norm(x).tolist()
        self.norm_u: list[float] = operator_norm(u).tolist()  # at step 0
        self.p = torch.bmm(x.mT.to(dtype), u.mT)
        del u  # it can be as large as W
        self.eta = torch.full((len(configs),), torch.nan, dtype=torch.float64, device=device)
        self.norm_w = operator_norm(self.w) if self.mixed else self.eta.clone()
        self.tol = torch.full_like(self.eta, self.solver.tol)
        self.tol_wanted = self.tol.clone()
        self._start_solvers(self.p.clone(), self.a[:, None, :].repeat(1, x.shape[2], 1))

    def _set_rules(self, config: TrialConfig, d: int) -> None:
        """Set what all trials of the pack share: solver, activation and rule of a step."""
        self.steps = config.block_steps(d)
        self.solver, self.phi = config.solver, activation(config.model.activation)
        momentum = config.train.momentum
        self.velocity = Velocity(momentum) if momentum else None
        self.batch_weights: Tensor | None = None

    @classmethod
    def restored(cls, config: TrialConfig, d: int, state: State) -> "Pack":
        """Rebuild a pack of this config's shape, with inputs of d numbers, from its state."""
        pack = cls.__new__(cls)
        pack._set_rules(config, d)
        pack.eta, pack.y = state["eta"], state["y"]
        pack._start_solvers(state["forward"]["last"], state["adjoint"]["last"])
        load_state_dict(pack, state)
        return pack

    def _start_solvers(self, q: Tensor, v: Tensor) -> None:
        """Set the starts of the fixed points to q and v, without a history to predict from."""
        # A Secant needs the change of the map, which costs products where a step has a memory.
        known = math.isinf(self.phi.curvature) and self.velocity is None
        predictor = Secant if known else Extrapolation
        self.forward: Predictor = predictor(q)
        self.adjoint: Predictor = predictor(v)
        self.buffers = [torch.empty_like(q) for _ in range(3)]
        self.spare: list[Tensor] = []
        self.z = self.r = q.new_zeros(len(q), 0, 0)  # until they are solved for
        self.e = self.y.to(q.dtype, copy=True)
        self.mask: Tensor | None = None
        self.flipped = self.eta.new_zeros(len(q))

    def set_states(self, q: Tensor, v: Tensor, e: Tensor) -> None:
        """Set states that were solved elsewhere, one GD step apart, the current one last.

        Args:
            q: (k, B, n, m) pre-activations.
            v: (k, B, n, m) adjoints.
            e: (B, n) yhat - y at the current state.
        """
        self._start_solvers(q[0].clone(), v[0].clone())
        for predictor, states in ((self.forward, q), (self.adjoint, v)):
            for state in states[1:]:
                predictor.push(state.clone(), self.buffers[0])
        self.z = self.phi.function(self.forward.last)
        self.mask = self.phi.derivative_at(self.forward.last, self.z)
        self.r, self.e = self.mask * self.adjoint.last, e.to(self.e)
        self._tighten_tolerance()

    def solve_equilibria(self) -> Solution:
        """Solve Q = W phi(Q) + P; set Z = phi(Q) and e = a^T Z - y."""
        solution = self._solve(self.equilibrium_map(), self.forward)
        self.z = self.phi.function(self.forward.last)
        self.e = self.error(self.z)
        return solution

    def solve_adjoints(self) -> Solution:
        """Solve V = a 1^T + W^T (D * V) with D = phi'(Q); set R = D * V."""
        mask = self.phi.derivative_at(self.forward.last, self.z)
        if isinstance(self.adjoint, Secant) and self.mask is not None:
            self._add_mask_changes(mask, self.mask, self.adjoint)
        self.mask = mask
        solution = self._solve(self.adjoint_map(mask), self.adjoint)
        self.r = mask * self.adjoint.last
        return solution

    def allocate_spare(self) -> None:
        """Allocate `spare`: buffers of the adjoints while the equilibria use `buffers`."""
        self.spare = self.spare or [torch.empty_like(self.p) for _ in range(3)]

    def equilibrium_map(self) -> Map:
        """Return q -> W phi(q) + P."""
        return self._in_precision(EquilibriumMap(self.phi, self.w, self.p))

    def adjoint_map(self, mask: Tensor) -> Map:
        """Return v -> a + W^T (D * v)."""
        return self._in_precision(AdjointMap(self.w, self.a, mask))

    @property
    def mixed(self) -> bool:
        """True if increments of the fixed points are multiplied in low precision."""
        return self.solver.precision == "mixed" and self.w.dtype == torch.float32

    def update_norm(self, norm_w: Tensor) -> None:
        """Replace the bound on ||W||_2 by a measured value, (B,) float64."""
        if self.mixed:
            self.norm_w = norm_w

    def _in_precision(self, f: Affine) -> Map:
        return MixedMap(f, self.norm_w, self.p.shape[1]) if self.mixed else f

    def error(self, z: Tensor) -> Tensor:
        """Return yhat - y (B, n) at the equilibria z (B, n, m)."""
        y = self.y.to(z.dtype)[..., None]
        return torch.baddbmm(y, z, self.a[..., None], beta=-1)[..., 0]

    def _solve(self, f: Map, predictor: Predictor) -> Solution:
        first, *others = self.buffers
        start = predictor.start(first, others[0])
        solution = solve(
            f,
            start,
            (others[0], others[1]),
            tol=self.tol,
            max_steps=self.solver.max_steps,
            step=SOLVERS[self.solver.name](),
        )
        self.buffers = self.push_solution(predictor, solution.value, self.buffers)
        return f.counted(solution) if isinstance(f, MixedMap) else solution

    @staticmethod
    def push_solution(predictor: Predictor, value: Tensor, buffers: list[Tensor]) -> list[Tensor]:
        """Hand a solution to its predictor; return the buffers that are free then.

        The predictor keeps the buffer that holds the value and returns another one.
        """
        free = [b for b in buffers if b is not value]
        return [*free, predictor.push(value, free[0])]

    def _add_mask_changes(self, mask: Tensor, before: Tensor, adjoint: Secant) -> None:
        """Add W^T ((D - D_before) * V), the effect of the changed mask, to the adjoint's source.

        Few entries change, so this reads rows of W and needs no product. A trial with too
        many changes starts from its last adjoint instead.
        """
        n, v = mask.shape[1], adjoint.last
        changed = mask != before
        counts = changed.sum(-1)
        self.flipped = (counts > 0).sum(-1)
        many = counts.sum(-1) > FLIPS * n
        adjoint.source[many] = 0.0
        places = (changed & ~many[:, None, None]).nonzero()
        for first in range(0, len(places), n):  # no more than n rows of W at once
            trial, sample, unit = places[first : first + n].unbind(1)
            jump = mask[trial, sample, unit] - before[trial, sample, unit]
            rows = self.w[trial, unit].mul_((jump * v[trial, sample, unit])[:, None])
            adjoint.source.view(-1, v.shape[-1]).index_add_(0, trial * n + sample, rows)

    def descend(self) -> None:
        """Take one GD step; set the sources and the tolerance of the next fixed points."""
        share = self.e * self.eta[:, None].to(self.e.dtype)
        if self.batch_weights is not None:
            share *= self.batch_weights
        scaled = self.r * share[..., None]
        f_w = self.steps.w
        step = -self.steps.a * torch.bmm(share[:, None, :], self.z)
        xx = self.steps.inputs(self.xx).to(self.p.dtype)
        if isinstance(self.forward, Secant) and isinstance(self.adjoint, Secant):
            # With dW = -f_w scaled^T Z: dP + Z dW^T, and da + R dW.
            g, b = torch.bmm(self.z, self.z.mT), torch.bmm(self.r, self.r.mT)
            torch.bmm(g.mul_(f_w).add_(xx).neg_(), scaled, out=self.forward.source)
            torch.baddbmm(
                step, b.mul_(share[:, None, :]), self.z, alpha=-f_w, out=self.adjoint.source
            )
        if self.velocity is None:
            self.w.baddbmm_(scaled.mT, self.z, alpha=-f_w)
        if self.mixed:  # ||W + dW|| <= ||W|| + the norms of dW's rank-one terms
            sizes = (torch.linalg.vector_norm(v, dim=-1).double() for v in (scaled, self.z))
            self.norm_w = torch.linalg.vecdot(*sizes).mul_(f_w).add_(self.norm_w)
        if self.velocity is None:
            self.p.baddbmm_(xx, scaled, alpha=-1)
        else:
            self.velocity.move((self.w, self.p), scaled, f_w * self.z, xx)
        self._tighten_tolerance()
        if self.velocity is None:
            self.a += step[:, 0]
        else:
            self.velocity.move_output(self.a, step[:, 0])

    @property
    def thin_products(self) -> float:
        """Products of n x n with n x m in a GD step, in units of a product with W (n / m each).

        One with X^T X updates P. A Secant needs four more: G and B, and a product with each.
        """
        count = 5 if isinstance(self.forward, Secant) else 1
        return count * self.p.shape[1] / self.p.shape[2]

    def gradient_norm(self) -> Tensor:
        """Return ||grad Phi||_2 computed from the gradients, some rows at a time; (B,) float64."""
        scaled = self.r * self.e[..., None]
        square = torch.bmm(self.e[:, None, :], self.z).double().square().sum((1, 2))
        for first in range(0, scaled.shape[-1], ROWS):
            part = scaled[..., first : first + ROWS]
            square += torch.bmm(part.mT, self.z).double().square().sum((1, 2))
            square += (part.double() * torch.bmm(self.xx, part.double())).sum((1, 2))
        return square.sqrt()

    def _tighten_tolerance(self) -> None:
        """Set the tolerance so that errors in the equilibria are a small share of e.

        A relative error tol of z moves yhat by at most tol ||a|| ||z||.
        """
        size = torch.linalg.vector_norm(self.z, dim=-1).amax(-1)
        reach = size.double() * torch.linalg.vector_norm(self.a, dim=-1)
        norm_e = torch.linalg.vector_norm(self.e, dim=-1, dtype=torch.float64)
        wanted = (norm_e / reach).mul_(SHARE / math.sqrt(self.e.shape[1]))
        self.tol_wanted = wanted.clamp_max_(self.solver.tol).nan_to_num_(self.solver.tol)
        least = RESOLVED * torch.finfo(self.p.dtype).eps
        self.tol = self.tol_wanted.clamp_min(min(least, self.solver.tol))

    def needs_float64(self) -> list[int]:
        """List the trials with a float64 finish whose float32 no longer resolves e."""
        if self.solver.finish == "none" or self.p.dtype == torch.float64:
            return []
        places: list[int] = (self.tol_wanted < self.tol).nonzero().flatten().tolist()
        return places

    def in_float64(self, k: int) -> "Pack":
        """Return a pack of trial k alone that continues in float64."""
        other = copy.copy(self)
        for name in ("xx", "y", "eta", "tol_wanted", "norm_w"):
            setattr(other, name, getattr(self, name)[k : k + 1].clone())
        for name in ("w", "a", "p"):
            setattr(other, name, getattr(self, name)[k : k + 1].double())
        other.velocity = self.velocity and self.velocity.in_float64(k)
        other.norm_x, other.norm_u = self.norm_x[k : k + 1], self.norm_u[k : k + 1]
        other.tol = other.tol_wanted.clone()
        q, v = (side.last[k : k + 1].double() for side in (self.forward, self.adjoint))
        other._start_solvers(q, v)
        return other

    def weights(self, k: int, config: TrialConfig, dataset: Dataset) -> Weights:
        """Return a copy of trial k's current weights."""
        w, a = (part[k].cpu().clone() for part in (self.w, self.a))
        return Weights(w, input_weights(config, dataset, self.p[k]), a)

    def select(self, keep: list[int]) -> None:
        """Keep these trials only; `keep` is ascending."""
        for name in self.BATCHED:
            setattr(self, name, move_to_front(getattr(self, name), keep))
        self.norm_x, self.norm_u = [self.norm_x[k] for k in keep], [self.norm_u[k] for k in keep]
        self.mask = None if self.mask is None else move_to_front(self.mask, keep)
        for name in SCRATCH:
            setattr(self, name, [buffer[: len(keep)] for buffer in getattr(self, name)])
        if self.velocity:
            self.velocity.select(keep)
        self.forward.select(keep)
        self.adjoint.select(keep)


def half_square(e: Tensor) -> Tensor:
    """Return Phi = 1/2 ||e||^2 of each trial; (B, n) to (B,) float64."""
    size: Tensor = torch.linalg.vector_norm(e, dim=-1, dtype=torch.float64)
    return 0.5 * size.square()
