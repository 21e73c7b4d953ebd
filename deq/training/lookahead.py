"""A GD step that waits for the device once.

On a GPU every look at a residual stalls the queue of kernels. How many maps a fixed point
takes is known closely from the steps before: so many are applied to the equilibria and to
the adjoints with no look, masks on the device keep what has met its tolerance, and one
look, before the weights move, says whether every sample did. Where one did not, the step is
solved anew, watched: a guess may save time, never accuracy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from deq.solvers.fixed_count import FIGURES, Attempt, attempt, attempted
from deq.solvers.fixed_point import Map, Solution
from deq.solvers.prediction import Predictor, Secant
from deq.training.cuda_graphs import Recording
from deq.training.pack import Pack, half_square

T = TypeVar("T")

# Counts of maps that are guessed; a step that takes more is watched, for dropping samples
# saves more.
COUNTS = (1, 2, 3, 4, 6, 8, 12, 16)
MOST = COUNTS[-1]
# So is one of a kinked phi, whose samples need unequal numbers of maps, from so many
# multiplications a map; and below so many a map takes less than launching it. Neither has
# been measured on a GPU yet.
WORTH, SMALL = 2**31, 2**28


@dataclass(frozen=True)
class Reading:
    """What the look at a step says.

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
class Pending:
    """A step that the device has been asked for.

    Attributes:
        forward, adjoint: the attempts at both fixed points.
        z, mask, e: (B, n, m), (B, n, m), (B, n) Z, D and yhat - y there.
        source: for a Secant of the adjoints, its source with the changes of mask in it.
        flipped: (B,) samples whose mask changed at a kink.
        figures: (12, B) float64, those of both attempts, the loss and `flipped`.
    """

    forward: Attempt
    adjoint: Attempt
    z: Tensor
    mask: Tensor
    e: Tensor
    source: Tensor | None
    flipped: Tensor
    figures: Tensor


class Speculation:
    """Guesses how many maps the next step of a pack takes."""

    STATE = ("maps",)

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.maps: list[list[int]] = []  # of the last two steps
        self.recording = Recording(pack)
        self._ahead = False  # whether the last step was by a guess

    def learn(self, forward: Solution, adjoint: Solution) -> None:
        """Take in how many maps a step took."""
        self.maps = [*self.maps[-1:], [_guess(forward), _guess(adjoint)]]

    def step(self) -> Reading | None:
        """Both fixed points of a GD step, looked at once; None where it is to be watched.

        The pack is changed only where every sample met its tolerance.
        """
        guess = [_rounded(max(maps)) for maps in zip(*self.maps, strict=True)]
        self._ahead = bool(guess) and max(guess) <= MOST and worthwhile(self.pack)
        if not self._ahead:
            return None
        self.pack.make_room()
        pending = self._do(("ask", *guess), lambda: self.ask(*guess))
        figures: list[list[float]] = pending.figures.tolist()  # the one look
        first, second = figures[:FIGURES], figures[FIGURES : 2 * FIGURES]
        self._ahead = not any(first[0]) and not any(second[0])
        if not self._ahead:
            return None
        self._do(("accept", *guess), lambda: self.accept(pending))
        forward = attempted(pending.forward.value, first, mixed=self.pack.mixed)
        adjoint = attempted(pending.adjoint.value, second, mixed=self.pack.mixed)
        self.learn(forward, adjoint)
        return Reading(forward, adjoint, *figures[2 * FIGURES :])

    def descend(self) -> None:
        """The pack's GD step."""
        if self._ahead:
            self._do("descend", self.pack.descend)
        else:
            self.pack.descend()

    def ask(self, forward_maps: int, adjoint_maps: int) -> Pending:
        """Ask the device for both fixed points by so many maps; the pack is not changed."""
        pack = self.pack
        equilibrium = pack.equilibrium_map()
        forward = self._attempt(equilibrium, pack.forward, pack.buffers, forward_maps)
        z = pack.phi.function(forward.value)
        e, mask = pack.error(z), pack.phi.derivative_at(forward.value, z)
        flipped, source, known = torch.zeros_like(pack.flipped), None, None
        if isinstance(pack.adjoint, Secant) and pack.mask is not None:
            # What the changes of mask do, as a product: to find the few of them is a look.
            change, known = mask - pack.mask, pack.adjoint.source
            flipped = (change != 0).any(-1).sum(-1).to(flipped.dtype)
            source = torch.baddbmm(known, change * pack.adjoint.last, pack.w)
            pack.adjoint.source = source
        adjoint = self._attempt(pack.adjoint_map(mask), pack.adjoint, pack.spare, adjoint_maps)
        if isinstance(pack.adjoint, Secant) and known is not None:
            pack.adjoint.source = known
        own = torch.stack([half_square(e), flipped.double()])
        figures = torch.cat([forward.figures, adjoint.figures, own])
        return Pending(forward, adjoint, z, mask, e, source, flipped, figures)

    def accept(self, pending: Pending) -> None:
        """Make the step's fixed points the pack's."""
        pack = self.pack
        pack.z, pack.mask, pack.e = pending.z, pending.mask, pending.e
        pack.flipped = pending.flipped
        if isinstance(pack.adjoint, Secant) and pending.source is not None:
            pack.adjoint.source = pending.source
        pack.buffers = pack.take(pack.forward, pending.forward.value, pack.buffers)
        pack.spare = pack.take(pack.adjoint, pending.adjoint.value, pack.spare)
        pack.r = pack.mask * pack.adjoint.last

    def _attempt(self, f: Map, predictor: Predictor, buffers: list[Tensor], maps: int) -> Attempt:
        first, second, third = buffers
        start = predictor.start(first, second)
        return attempt(f, start, (second, third), tol=self.pack.tol, maps=maps)

    def _do(self, key: Any, body: Callable[[], T]) -> T:
        """Do a part of the step, from its recording where launches cost more than it does."""
        return self.recording(key, body) if launches_matter(self.pack) else body()


def _guess(solution: Solution) -> int:
    """Maps that the next solution may take; too many where its full products need a look."""
    full = (p - low for p, low in zip(solution.products, solution.low, strict=True))
    return MOST + 1 if any(count > 1 + 1e-9 for count in full) else solution.maps


def _rounded(maps: int) -> int:
    """The next count of maps that parts are recorded for: few of them serve all steps."""
    return next((count for count in COUNTS if count >= maps), maps)


def worthwhile(pack: Pack) -> bool:
    """Whether a look costs more than it saves: on a GPU, with Picard's iteration."""
    if pack.p.device.type != "cuda" or pack.solver.name != "picard":
        return False
    return not isinstance(pack.adjoint, Secant) or _map_cost(pack) < WORTH


def launches_matter(pack: Pack) -> bool:
    """Whether to record the step: on a GPU, where a map is over before the next is launched."""
    return pack.p.device.type == "cuda" and _map_cost(pack) < SMALL


def _map_cost(pack: Pack) -> int:
    """Multiplications of one map."""
    batch, n, m = pack.p.shape
    return batch * n * m * m
