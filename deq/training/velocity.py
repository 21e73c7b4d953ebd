"""Velocities of the weights: the heavy ball's memory of the step before."""

import torch
from torch import Tensor

from deq.training.state import State, state_dict


class Velocity:
    """Last steps of W (B, m, m), P (B, n, m) and a (B, m) under heavy ball.

    A step is momentum times the one before, plus that of gradient descent.
    """

    STATE = ("w", "p", "a")

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self.w: Tensor | None = None  # until the first step
        self.p: Tensor | None = None
        self.a: Tensor | None = None

    def move(self, weights: tuple[Tensor, Tensor], scaled: Tensor, z: Tensor, xx: Tensor) -> None:
        """Take a step of W and P, in place.

        Args:
            weights: W and P.
            scaled: (B, n, m) eta R diag(e).
            z: (B, n, m) Z, times the factor of W's step size.
            xx: (B, n, n) X^T X, with the factors of U's.
        """
        w, p = weights
        if self.w is None or self.p is None:
            self.w, self.p = torch.zeros_like(w), torch.zeros_like(p)
        self.w.baddbmm_(scaled.mT, z, beta=self.momentum, alpha=-1)
        self.p.baddbmm_(xx, scaled, beta=self.momentum, alpha=-1)
        w += self.w
        p += self.p

    def move_output(self, a: Tensor, step: Tensor) -> None:
        """Take a step of a (B, m), in place; `step` is that of gradient descent."""
        if self.a is None:
            self.a = torch.zeros_like(a)
        a += self.a.mul_(self.momentum).add_(step)

    def select(self, keep: list[int]) -> None:
        """Keep these trials only; `keep` is ascending."""
        for name in self.STATE:
            part = getattr(self, name)
            setattr(self, name, None if part is None else move_to_front(part, keep))

    def in_float64(self, k: int) -> "Velocity":
        """Return the velocity of trial k alone, in float64."""
        other = Velocity(self.momentum)
        for name, part in self.state().items():
            setattr(other, name, None if part is None else part[k : k + 1].double())
        return other

    def state(self) -> State:
        """Return the tensors by name."""
        return state_dict(self)


def move_to_front(x: Tensor, keep: list[int]) -> Tensor:
    """Return x[keep] within x's own storage, so that no second W is held; `keep` ascending."""
    for place, k in enumerate(keep):
        if place != k:
            x[place].copy_(x[k])
    return x[: len(keep)]
