"""Undecided entries: so close to zero that a window does not determine their side."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deq.training.windows.kinked_window import KinkedWindow

# Relative change of the loss's rate, in tol, from which an undecided entry is weighty.
WEIGHTY = 10.0
# Share of a window after which the sides of an entry are compared.
LAST = 0.8
# Changes of sign in a window from which an entry slides; it has no side then.
SLIDES = 4


@dataclass(frozen=True)
class Undecided:
    """Undecided entries of a window.

    Attributes:
        count: number of undecided entries.
        weighty: number of undecided entries that are weighty.
        first: first step, counted from the window's start, at which one of these has no side.
    """

    count: int = 0
    weighty: int = 0
    first: int = 0


def undecided(window: KinkedWindow) -> Undecided:
    """Count the entries that end on another side when q begins at +- its uncertainty.

    The weight of an entry is the relative change of e^T H e, the rate of the loss, with its
    slope at the window's end.
    """
    if not len(window.monitored):
        return Undecided()
    paths = [window.follow(shift)[1] > 0 for shift in (1.0, -1.0)]
    begin = int(LAST * len(paths[0]))
    sides = [path[begin:].mean(0) for path in paths]
    changes = [(path[1:] != path[:-1]).sum(0) for path in paths]
    uncertain = (np.abs(sides[0] - sides[1]) > 0.5) & (np.minimum(*changes) < SLIDES)
    weighty = uncertain & (weights(window).numpy() > WEIGHTY * window.accuracy.tol)
    if not weighty.any():
        return Undecided(int(uncertain.sum()))
    differ = (paths[0] != paths[1])[:, weighty].any(1)
    return Undecided(int(uncertain.sum()), int(weighty.sum()), int(differ.argmax()))


def weights(window: KinkedWindow) -> Tensor:
    """Return the relative change of e^T H e with each entry's slope at the window's end; (M,)."""
    model, e, at = window.model, window.e[-1], window.monitored.sample
    rows = (model.inner[-1] * model.kernels[-1][at]) @ e
    jump = (model.high - model.low) * model.v0[-1]
    g, b = window.grams([len(window.e) - 1])
    tangent = g[0] + b[0] * model.kernels[-1]
    change = (
        jump
        * e[at]
        * (2 * rows + torch.diagonal(model.gg) * jump * e[at] * model.kernels[-1][at, at])
    )
    return (change / (e @ tangent @ e)).abs()
