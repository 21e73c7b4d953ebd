"""A GD step that waits for the device once.

On a GPU every look at a residual stalls the queue of kernels. How many maps a fixed point
takes is known closely from the steps before: so many are applied to the equilibria and to
the adjoints with no look, masks on the device keep what has met its tolerance, and one
look, before the weights move, says whether every sample did. Where one did not, the step is
solved anew, watched: a guess may save time, never accuracy.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from deq.fixed_point import FIGURES, Attempt, Map, Solution, attempt, attempted
from deq.pack import Pack, half_square
from deq.prediction import Predictor, Secant

# A step that takes more maps than this is watched: dropping samples saves more.
MOST = 16
# So is one of a kinked phi, whose samples need unequal numbers of maps, from so many
# multiplications a map. Not measured on a GPU yet.
WORTH = 2**31


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
        source: what the adjoints' predictor knew of the step before it was told of masks.
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
        self.buffers: list[Tensor] = []  # the adjoints', while the pack's are the equilibria's

    def learn(self, forward: Solution, adjoint: Solution) -> None:
        """Take in how many maps a step took."""
        self.maps = [*self.maps[-1:], [forward.maps, adjoint.maps]]

    def step(self) -> Reading | None:
        """Both fixed points of a GD step, looked at once; None where it is to be watched.

        The pack is changed only where every sample met its tolerance.
        """
        guess = [max(maps) for maps in zip(*self.maps, strict=True)]
        if not guess or max(guess) > MOST or not worthwhile(self.pack):
            return None
        pending = self.enqueue(*guess)
        figures: list[list[float]] = pending.figures.tolist()  # the one look
        first, second = figures[:FIGURES], figures[FIGURES : 2 * FIGURES]
        if any(first[0]) or any(second[0]):
            self.withdraw(pending)
            return None
        self.accept(pending)
        forward = attempted(pending.forward.value, first)
        adjoint = attempted(pending.adjoint.value, second)
        self.learn(forward, adjoint)
        return Reading(forward, adjoint, *figures[2 * FIGURES :])

    def enqueue(self, forward_maps: int, adjoint_maps: int) -> Pending:
        """Ask the device for both fixed points by so many maps."""
        pack, predictor = self.pack, self.pack.adjoint
        if not self.buffers or self.buffers[0].shape != pack.p.shape:
            self.buffers = [torch.empty_like(pack.p) for _ in range(3)]
        equilibrium = pack.equilibrium_map()
        forward = self._attempt(equilibrium, pack.forward, pack.buffers, forward_maps)
        z = pack.phi.function(forward.value)
        e = pack.error(z)
        mask = pack.phi.derivative_at(forward.value, z)
        source, flipped = None, torch.zeros_like(pack.flipped)
        if isinstance(predictor, Secant) and pack.mask is not None:
            # What the changes of mask do, as a product: to find the few of them is a look.
            change = mask - pack.mask
            flipped = (change != 0).any(-1).sum(-1).to(flipped.dtype)
            source = predictor.source
            predictor.source = torch.baddbmm(source, change * predictor.last, pack.w)
        adjoint = self._attempt(pack.adjoint_map(mask), predictor, self.buffers, adjoint_maps)
        own = torch.stack([half_square(e), flipped.double()])
        figures = torch.cat([forward.figures, adjoint.figures, own])
        return Pending(forward, adjoint, z, mask, e, source, flipped, figures)

    def accept(self, pending: Pending) -> None:
        """Make the step's fixed points the pack's."""
        pack = self.pack
        pack.z, pack.mask, pack.e, pack.flipped = (
            pending.z,
            pending.mask,
            pending.e,
            pending.flipped,
        )
        pack.buffers = pack.take(pack.forward, pending.forward.value, pack.buffers)
        self.buffers = pack.take(pack.adjoint, pending.adjoint.value, self.buffers)
        pack.r = pack.mask * pack.adjoint.last

    def withdraw(self, pending: Pending) -> None:
        """Leave the pack as it was before the step was asked for."""
        if pending.source is not None and isinstance(self.pack.adjoint, Secant):
            self.pack.adjoint.source = pending.source

    def _attempt(self, f: Map, predictor: Predictor, buffers: list[Tensor], maps: int) -> Attempt:
        first, second, third = buffers
        start = predictor.start(first, second)
        return attempt(f, start, (second, third), tol=self.pack.tol, maps=maps)


def worthwhile(pack: Pack) -> bool:
    """Whether a look costs more than it saves: on a GPU, with Picard's iteration."""
    batch, n, m = pack.p.shape
    if pack.p.device.type != "cuda" or pack.solver.name != "picard":
        return False
    return not isinstance(pack.adjoint, Secant) or batch * n * m * m < WORTH
