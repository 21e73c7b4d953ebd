"""Entries that come so close to zero that a window cannot tell on which side they stay."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deq.training.windows.kinked_window import KinkedWindow

# Multiple of tol by which an entry must change the loss's rate to have weight.
WEIGHTY = 10.0
# Last part of a window in which the sides are compared, and changes of sign of an entry that
# slides there: its side at one step says nothing.
LAST, SLIDES = 0.8, 4


@dataclass(frozen=True)
class Undecided:
    """Undecided entries of a window.

    Attributes:
        count: how many there are; weighty: how many of them have weight.
        first: step, counted from the window's start, from which one with weight is undecided.
    """

    count: int = 0
    weighty: int = 0
    first: int = 0


def undecided(window: KinkedWindow) -> Undecided:
    """The entries that end on another side when all begin at q +- their uncertainty.

    Their weight is the share by which a change of their slope at the window's end changes
    e^T H e, the rate of the loss.
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
    """Relative change of e^T H e with the slope of each entry, at the window's end; (M,)."""
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
