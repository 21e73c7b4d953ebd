"""Nodes and monitored entries of the last window, from which weights inside it follow."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deq.training.state import State, state_dict
from deq.training.windows.error_recursion import moments
from deq.training.windows.kinked_path import KinkedPath, jumps_of
from deq.training.windows.low_rank import Jumps, Terms
from deq.training.windows.polynomials import lagrange


@dataclass(frozen=True)
class Passage:
    """Nodes and monitored entries of a window of a kinked activation.

    Attributes:
        steps: GD steps of the nodes.
        z, r: (L, n, m) phi(q) and mask * v at the nodes.
        g: (M, m) responses of the entries (see `monitored`).
        sample: (M,) sample of each entry.
        nu: (h + 1, M) jumps of the entries at every step.
    """

    steps: list[int]
    z: Tensor
    r: Tensor
    g: Tensor
    sample: Tensor
    nu: Tensor

    STATE = ("steps", "z", "r", "g", "sample", "nu")

    @classmethod
    def of(cls, window: KinkedPath) -> "Passage":
        """Take the nodes and monitored entries of a window."""
        nodes, monitored = window.nodes, window.monitored
        return cls(nodes.steps, nodes.z, nodes.r, monitored.g, monitored.sample, window.nu)

    def terms_back(self, path: Tensor, step: int) -> Terms:
        """Return the low-rank terms from a step inside the window to its end.

        Args:
            path: (h + 1, n) e along the window.
            step: a GD step inside it.
        """
        first, last = self.steps[0], self.steps[-1]
        ends = [step - first, last - first]
        basis = lagrange(self.steps, torch.arange(first, last + 1))
        c, b = moments(basis, path, ends)
        both = jumps_of(self.g, self.sample, basis, self.nu, path, ends)
        jumps = Jumps(
            self.g, self.sample, (both.c[1] - both.c[0])[None], (both.b[1] - both.b[0])[None]
        )
        return Terms(self.z, self.r, (c[1] - c[0])[None], (b[1] - b[0])[None], jumps)

    def state(self) -> State:
        """Return all attributes, as plain data and tensors."""
        return state_dict(self)

    @classmethod
    def restored(cls, state: State) -> "Passage":
        """Rebuild a passage from its state."""
        parts = {name: state[name] for name in cls.STATE}
        return cls(**parts | {name: parts[name].cpu() for name in ("sample", "nu")})
