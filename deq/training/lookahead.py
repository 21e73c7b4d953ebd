"""Lookahead: a GD step that waits for the device once.

On a GPU, reading a residual stalls the queue of kernels. The number of maps that a fixed
point takes is known closely from the steps before. So that many maps are applied to the
equilibria and to the adjoints without reading anything; masks on the device keep the images
that met their tolerance. One read, before the weights move, tells whether every sample did.
If one did not, the step is solved again by `solve`, so a wrong guess never costs accuracy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from deq.solvers.fixed_count import FIGURES, FixedCountSolve, solve_fixed_count, to_solution
from deq.solvers.fixed_point import Map
from deq.solvers.prediction import Predictor, Secant
from deq.solvers.solution import Solution
from deq.training.cuda_graphs import GraphRecorder
from deq.training.pack import Pack, half_square

T = TypeVar("T")

# Numbers of maps that are guessed. A step that takes more is solved by `solve`, where
# dropping the samples that are done saves more.
COUNTS = (1, 2, 3, 4, 6, 8, 12, 16)
MOST = COUNTS[-1]
# Multiplications of a map: from WORTH on, `solve` is used for a kinked phi, whose samples
# need unequal numbers of maps; below SMALL a map takes less time than its launch. Neither
# limit has been measured on a GPU yet.
WORTH, SMALL = 2**31, 2**28


@dataclass(frozen=True)
class SolvedStep:
    """The fixed points of a GD step, read from the device.

    Attributes:
        forward, adjoint: the fixed points.
        loss: per trial, 1/2 ||yhat - y||^2.
        flipped: per trial, samples whose mask changed at a kink.
    """

    forward: Solution
    adjoint: Solution
    loss: list[float]
    flipped: list[float]


@dataclass(frozen=True)
class PendingStep:
    """The fixed points of a GD step, queued on the device and not read yet.

    Attributes:
        forward, adjoint: both fixed-count solves.
        z, mask, e: (B, n, m), (B, n, m), (B, n) Z, D and yhat - y there.
        source: the source of a Secant of the adjoints, changes of the mask included.
        flipped: (B,) samples whose mask changed at a kink.
        figures: (12, B) float64, those of both solves, the loss and `flipped`.
    """

    forward: FixedCountSolve
    adjoint: FixedCountSolve
    z: Tensor
    mask: Tensor
    e: Tensor
    source: Tensor | None
    flipped: Tensor
    figures: Tensor


class Lookahead:
    """Guesses how many maps the next step of a pack takes, and solves it by that guess."""

    STATE = ("maps",)

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.maps: list[list[int]] = []  # forward and adjoint, of the last two steps
        self.recorder = GraphRecorder(pack)
        self._succeeded = False  # whether the last step was solved by a guess

    def record(self, forward: Solution, adjoint: Solution) -> None:
        """Record how many maps a step took."""
        self.maps = [*self.maps[-1:], [_maps_needed(forward), _maps_needed(adjoint)]]

    def step(self) -> SolvedStep | None:
        """Solve both fixed points of a GD step by a guess; None where it does not succeed.

        The pack changes only if every sample met its tolerance.
        """
        guess = [_next_count(max(maps)) for maps in zip(*self.maps, strict=True)]
        self._succeeded = bool(guess) and max(guess) <= MOST and worthwhile(self.pack)
        if not self._succeeded:
            return None
        self.pack.allocate_spare()
        pending = self._run(("enqueue", *guess), lambda: self.enqueue(*guess))
        figures: list[list[float]] = pending.figures.tolist()  # the only read
        first, second = figures[:FIGURES], figures[FIGURES : 2 * FIGURES]
        self._succeeded = not any(first[0]) and not any(second[0])
        if not self._succeeded:
            return None
        self._run(("accept", *guess), lambda: self.accept(pending))
        forward = to_solution(pending.forward.value, first, mixed=self.pack.mixed)
        adjoint = to_solution(pending.adjoint.value, second, mixed=self.pack.mixed)
        self.record(forward, adjoint)
        return SolvedStep(forward, adjoint, *figures[2 * FIGURES :])

    def descend(self) -> None:
        """Take the pack's GD step; from a graph only if it is the same one each time."""
        plain = self.pack.velocity is None and self.pack.batch_weights is None
        if self._succeeded and plain:
            self._run("descend", self.pack.descend)
        else:
            self.pack.descend()

    def enqueue(self, forward_maps: int, adjoint_maps: int) -> PendingStep:
        """Queue both fixed points with so many maps each; the pack does not change."""
        pack = self.pack
        forward = self._solve(pack.equilibrium_map(), pack.forward, pack.buffers, forward_maps)
        z = pack.phi.function(forward.value)
        e, mask = pack.error(z), pack.phi.derivative_at(forward.value, z)
        flipped, source, old_source = torch.zeros_like(pack.flipped), None, None
        if isinstance(pack.adjoint, Secant) and pack.mask is not None:
            # As a product, because finding the few changed entries would be a read.
            change, old_source = mask - pack.mask, pack.adjoint.source
            flipped = (change != 0).any(-1).sum(-1).to(flipped.dtype)
            source = torch.baddbmm(old_source, change * pack.adjoint.last, pack.w)
            pack.adjoint.source = source
        adjoint = self._solve(pack.adjoint_map(mask), pack.adjoint, pack.spare, adjoint_maps)
        if isinstance(pack.adjoint, Secant) and old_source is not None:
            pack.adjoint.source = old_source
        own = torch.stack([half_square(e), flipped.double()])
        figures = torch.cat([forward.figures, adjoint.figures, own])
        return PendingStep(forward, adjoint, z, mask, e, source, flipped, figures)

    def accept(self, pending: PendingStep) -> None:
        """Make the step's fixed points the pack's."""
        pack = self.pack
        pack.z, pack.mask, pack.e = pending.z, pending.mask, pending.e
        pack.flipped = pending.flipped
        if isinstance(pack.adjoint, Secant) and pending.source is not None:
            pack.adjoint.source = pending.source
        pack.buffers = pack.push_solution(pack.forward, pending.forward.value, pack.buffers)
        pack.spare = pack.push_solution(pack.adjoint, pending.adjoint.value, pack.spare)
        pack.r = pack.mask * pack.adjoint.last

    def _solve(
        self, f: Map, predictor: Predictor, buffers: list[Tensor], maps: int
    ) -> FixedCountSolve:
        first, second, third = buffers
        start = predictor.start(first, second)
        return solve_fixed_count(f, start, (second, third), tol=self.pack.tol, maps=maps)

    def _run(self, key: Any, part: Callable[[], T]) -> T:
        """Run a part of the step, from a CUDA graph where launches take longer than kernels."""
        return self.recorder(key, part) if launches_matter(self.pack) else part()


def _maps_needed(solution: Solution) -> int:
    """Maps that the next solve may take; more than MOST if full products need a read."""
    full = (p - low for p, low in zip(solution.products, solution.low, strict=True))
    return MOST + 1 if any(count > 1 + 1e-9 for count in full) else solution.maps


def _next_count(maps: int) -> int:
    """Round up to one of COUNTS, so that few graphs serve all steps."""
    return next((count for count in COUNTS if count >= maps), maps)


def worthwhile(pack: Pack) -> bool:
    """True if a read costs more than it saves: on a GPU, with Picard's iteration."""
    if pack.p.device.type != "cuda" or pack.solver.name != "picard":
        return False
    return not isinstance(pack.adjoint, Secant) or _map_cost(pack) < WORTH


def launches_matter(pack: Pack) -> bool:
    """True if a CUDA graph saves time: on a GPU, if a map takes less time than its launch."""
    return pack.p.device.type == "cuda" and _map_cost(pack) < SMALL


def _map_cost(pack: Pack) -> int:
    """Multiplications of one map."""
    batch, n, m = pack.p.shape
    return batch * n * m * m
