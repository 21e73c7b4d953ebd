"""Picard's iteration: the next iterate is the image."""

from torch import Tensor

from deq.solvers.fixed_point import Map


class Picard:
    """x <- f(x)."""

    products = 0

    def __call__(self, f: Map, image: Tensor, change: Tensor) -> Tensor:
        """Return the image."""
        del f, change
        return image

    def keep(self, places: Tensor) -> None:
        """Do nothing: Picard's iteration keeps no history."""
