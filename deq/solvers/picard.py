"""Picard's iteration: the next iterate is the image."""

from torch import Tensor

from deq.solvers.fixed_point import Map, Step


class Picard(Step):
    """x <- f(x)."""

    def __call__(self, f: Map, image: Tensor, change: Tensor) -> Tensor:
        """Return the image."""
        del f, change
        return image
