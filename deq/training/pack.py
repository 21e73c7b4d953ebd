"""The numerics of a pack of DEQs under full-batch gradient descent.

The gradients are in closed form (docs/theory.md, section 1): with e = yhat - y, D the
derivative mask and V = a 1^T + W^T (D * V), R = D * V,

    grad_W = (R diag(e)) Z^T,  grad_U = (R diag(e)) X^T,  grad_a = Z e.

A GD step costs the products of its two fixed points and one more for grad_W, which is
taken from W in place. U is not formed: P = U X is kept current through X^T X, and U follows
from it where it is asked for (see weights). Held as
rows, one for each sample: P, Z, V, R are (B, n, m).
"""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from deq.config import TrialConfig
from deq.data.dataset import Dataset
from deq.linalg.operator_norm import operator_norm
from deq.models.activations import activation
from deq.models.equilibrium import AdjointMap, EquilibriumMap
from deq.solvers.by_name import SOLVERS
from deq.solvers.fixed_point import Map, Solution, solve
from deq.solvers.mixed import Affine, MixedMap
from deq.solvers.prediction import Extrapolation, Predictor, Secant
from deq.theory.rejection_sampling import starting_weights
from deq.training.state import State, put
from deq.training.weights import Weights, input_weights

# The equilibria's errors may move a prediction by this share of rms(e) at most.
SHARE = 1e-3
# No tolerance is set below so many units of rounding.
RESOLVED = 8.0
# Changes of mask put in exactly, by the entry, up to so many a sample.
FLIPS = 8
# Attributes of a pack that hold storage which is overwritten before it is read.
SCRATCH = ("buffers", "spare")
# Rows of a gradient in W that are formed at once where its norm is checked.
ROWS = 64


class Pack:
    """B trials of one shape: their weights, fixed points and predictions.

    Attributes:
        w: (B, m, m); a: (B, m); p: (B, n, m), P = U X.
        eta: (B,) float64, NaN until it is known; y: (B, n) float64.
        z, mask, r: (B, n, m), Z, D and R at the last equilibria and adjoints.
        e: (B, n), yhat - y.
        tol: (B,) float64, the relative tolerance of the next fixed points.
        norm_w: (B,) float64, ||W||_2 or above where products are mixed; else NaN.
        flipped: (B,) samples whose mask changed at a kink since the step before.
    """

    BATCHED = ("xx", "y", "w", "a", "p", "eta", "norm_w", "tol", "tied", "z", "r", "e", "flipped")
    STATE = (*BATCHED, "mask", "norm_x", "norm_u", "forward", "adjoint")

    def __init__(
        self, configs: Sequence[TrialConfig], datasets: Sequence[Dataset], place: torch.device
    ) -> None:
        config = configs[0]
        dtype = config.torch_dtype
        self.solver, self.phi = config.solver, activation(config.model.activation)
        x = torch.stack([s.x for s in datasets]).to(place)  # (B, d, n) float64
        self.xx = x.mT @ x
        self.y = torch.stack([s.y for s in datasets]).to(place)
        self.w, u, self.a = starting_weights(configs, datasets, place)
        self.norm_x: list[float] = torch.linalg.matrix_norm(x).tolist()  # of step 0, as norm_u
        self.norm_u: list[float] = operator_norm(u).tolist()
        self.p = torch.bmm(x.mT.to(dtype), u.mT)
        del u  # it is not needed again, and can be as large as W
        self.eta = torch.full((len(configs),), torch.nan, dtype=torch.float64, device=place)
        self.norm_w = operator_norm(self.w) if self.mixed else self.eta.clone()
        self.tol = torch.full((len(configs),), self.solver.tol, dtype=torch.float64, device=place)
        self.tied = self.tol.clone()  # what tol would be if the dtype resolved it
        self._start(self.p.clone(), self.a[:, None, :].repeat(1, x.shape[2], 1))

    @classmethod
    def restored(cls, config: TrialConfig, state: State) -> "Pack":
        """The pack of this config's shape that `state_of` took the state of."""
        pack = cls.__new__(cls)
        pack.solver, pack.phi = config.solver, activation(config.model.activation)
        pack.eta, pack.y = state["eta"], state["y"]
        pack._start(state["forward"]["last"], state["adjoint"]["last"])
        put(pack, state)
        return pack

    def _start(self, q: Tensor, v: Tensor) -> None:
        """Start the fixed points from q and v, with nothing known of the past."""
        predictor = Secant if math.isinf(self.phi.curvature) else Extrapolation
        self.forward: Predictor = predictor(q)
        self.adjoint: Predictor = predictor(v)
        self.buffers = [torch.empty_like(q) for _ in range(3)]
        self.spare: list[Tensor] = []
        self.z = self.r = q.new_zeros(len(q), 0, 0)  # until they are solved for
        self.e = self.y.to(q.dtype, copy=True)
        self.mask: Tensor | None = None
        self.flipped = self.eta.new_zeros(len(q))

    def equilibrium(self) -> Solution:
        """Solve Q = W phi(Q) + P; then Z = phi(Q) and e = a^T Z - y."""
        solution = self._solve(self.equilibrium_map(), self.forward)
        self.z = self.phi.function(self.forward.last)
        self.e = self.error(self.z)
        return solution

    def adjoints(self) -> Solution:
        """Solve V = a 1^T + W^T (D * V) with D = phi'(Q); then R = D * V."""
        mask = self.phi.derivative_at(self.forward.last, self.z)
        if isinstance(self.adjoint, Secant) and self.mask is not None:
            self._jump(mask, self.mask, self.adjoint)
        self.mask = mask
        solution = self._solve(self.adjoint_map(mask), self.adjoint)
        self.r = mask * self.adjoint.last
        return solution

    def make_room(self) -> None:
        """Have `spare` as well, for the adjoints while the equilibria hold `buffers`."""
        self.spare = self.spare or [torch.empty_like(self.p) for _ in range(3)]

    def equilibrium_map(self) -> Map:
        """q -> W phi(q) + P."""
        return self._in_precision(EquilibriumMap(self.phi, self.w, self.p))

    def adjoint_map(self, mask: Tensor) -> Map:
        """v -> a + W^T (D * v)."""
        return self._in_precision(AdjointMap(self.w, self.a, mask))

    @property
    def mixed(self) -> bool:
        """Whether the increments of the fixed points are multiplied in low precision."""
        return self.solver.precision == "mixed" and self.w.dtype == torch.float32

    def know_norm(self, norm_w: Tensor) -> None:
        """Take in ||W||_2, (B,), where it has been measured for another purpose."""
        if self.mixed:
            self.norm_w = norm_w

    def _in_precision(self, f: Affine) -> Map:
        return MixedMap(f, self.norm_w, self.p.shape[1]) if self.mixed else f

    def error(self, z: Tensor) -> Tensor:
        """yhat - y at these equilibria."""
        return torch.bmm(z, self.a[:, :, None])[:, :, 0] - self.y.to(z.dtype)

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
        self.buffers = self.take(predictor, solution.value, self.buffers)
        return f.counted(solution) if isinstance(f, MixedMap) else solution

    @staticmethod
    def take(predictor: Predictor, value: Tensor, buffers: list[Tensor]) -> list[Tensor]:
        """Give a solution to its predictor; the buffers there are then.

        The predictor keeps the buffer that holds the value and gives another for it.
        """
        free = [b for b in buffers if b is not value]
        return [*free, predictor.push(value, free[0])]

    def _jump(self, mask: Tensor, before: Tensor, adjoint: Secant) -> None:
        """Add to the adjoint's source what the changes of mask do: W^T ((D - D_before) * V).

        The changes are few and known by the entry, so that this needs rows of W and no
        product. A trial with too many starts from its last adjoint instead.
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
        """One GD step, with the sources of the next fixed points and their tolerance."""
        share = self.e * self.eta[:, None].to(self.e.dtype)
        scaled = self.r * share[..., None]
        step = -torch.bmm(share[:, None, :], self.z)
        xx = self.xx.to(self.p.dtype)
        if isinstance(self.forward, Secant) and isinstance(self.adjoint, Secant):
            # With dW = -scaled^T Z: dP + Z dW^T, and da + R dW.
            g, b = torch.bmm(self.z, self.z.mT), torch.bmm(self.r, self.r.mT)
            torch.bmm(g.add_(xx).neg_(), scaled, out=self.forward.source)
            torch.baddbmm(
                step, b.mul_(share[:, None, :]), self.z, alpha=-1, out=self.adjoint.source
            )
        self.w.baddbmm_(scaled.mT, self.z, alpha=-1)
        if self.mixed:  # the norm of a sum is no more than that of its parts, each of rank one
            sizes = (torch.linalg.vector_norm(v, dim=-1).double() for v in (scaled, self.z))
            self.norm_w = torch.linalg.vecdot(*sizes).add_(self.norm_w)
        self.p.baddbmm_(xx, scaled, alpha=-1)
        self._tie()
        self.a += step[:, 0]

    @property
    def thin_products(self) -> float:
        """Products of n x n with n x m in a GD step, in products with W: n / m each.

        X^T X with R keeps P; Secant's sources take G, B, and a product with each more.
        """
        count = 5 if isinstance(self.forward, Secant) else 1
        return count * self.p.shape[1] / self.p.shape[2]

    def gradient_norm(self) -> Tensor:
        """||grad Phi||_2 from the gradients themselves, rows of W at a time; (B,) float64."""
        scaled = self.r * self.e[..., None]
        square = torch.bmm(self.e[:, None, :], self.z).double().square().sum((1, 2))
        for first in range(0, scaled.shape[-1], ROWS):
            part = scaled[..., first : first + ROWS]
            square += torch.bmm(part.mT, self.z).double().square().sum((1, 2))
            square += (part.double() * torch.bmm(self.xx, part.double())).sum((1, 2))
        return square.sqrt()

    def _tie(self) -> None:
        """Tie the tolerance to e, of which the equilibria's errors may be a small share.

        A relative error tol of z moves yhat by at most tol ||a|| ||z||.
        """
        size = torch.linalg.vector_norm(self.z, dim=-1).amax(-1)
        reach = size.double() * torch.linalg.vector_norm(self.a, dim=-1).double()
        tied = SHARE * self.e.double().square().mean(-1).sqrt() / reach
        self.tied = tied.clamp_max(self.solver.tol).nan_to_num(self.solver.tol)
        least = RESOLVED * torch.finfo(self.p.dtype).eps
        self.tol = self.tied.clamp_min(min(least, self.solver.tol))

    def strained(self) -> list[int]:
        """The trials whose float32 no longer resolves e, where a float64 finish is asked for."""
        if self.solver.finish == "none" or self.p.dtype == torch.float64 or not len(self.tied):
            return []
        places: list[int] = (self.tied < self.tol).nonzero().flatten().tolist()
        return places

    def in_float64(self, k: int) -> "Pack":
        """Trial k, going on in float64 from where it is."""
        other = copy.copy(self)
        for name in ("xx", "y", "eta", "tied", "norm_w"):
            setattr(other, name, getattr(self, name)[k : k + 1].clone())
        for name in ("w", "a", "p"):
            setattr(other, name, getattr(self, name)[k : k + 1].double())
        other.norm_x, other.norm_u = self.norm_x[k : k + 1], self.norm_u[k : k + 1]
        other.tol = other.tied.clone()
        other._start(self.forward.last[k : k + 1].double(), self.adjoint.last[k : k + 1].double())
        return other

    def weights(self, k: int, config: TrialConfig, dataset: Dataset) -> Weights:
        """Trial k's weights as they stand, in storage of their own."""
        w, a = (part[k].cpu().clone() for part in (self.w, self.a))
        return Weights(w, input_weights(config, dataset, self.p[k]), a)

    def select(self, keep: list[int]) -> None:
        """Keep these trials only."""
        for name in self.BATCHED:
            setattr(self, name, kept(getattr(self, name), keep))
        self.norm_x, self.norm_u = [self.norm_x[k] for k in keep], [self.norm_u[k] for k in keep]
        self.mask = None if self.mask is None else kept(self.mask, keep)
        for name in SCRATCH:
            setattr(self, name, [buffer[: len(keep)] for buffer in getattr(self, name)])
        self.forward.select(keep)
        self.adjoint.select(keep)


def half_square(e: Tensor) -> Tensor:
    """Phi = 1/2 ||e||^2 per trial; (B, n) to (B,) float64."""
    return 0.5 * e.double().square().sum(-1)


def kept(x: Tensor, keep: list[int]) -> Tensor:
    """x[keep], `keep` ascending, moved within x's own storage: no second W is held."""
    for place, k in enumerate(keep):
        if place != k:
            x[place].copy_(x[k])
    return x[: len(keep)]
