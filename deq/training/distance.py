"""Distance of a trial's weights from its initial ones, without a second W."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from deq.config import TrainConfig, TrialConfig
from deq.data.dataset import Dataset
from deq.models.equilibrium import draw_blocks
from deq.theory.flags import Numbers
from deq.theory.rejection_sampling import starting_weights
from deq.training.weights import inverse_of


class Distance(NamedTuple):
    """Distance of weights from the initial ones.

    Attributes:
        moved: ||theta - theta(0)||_2 over W, U and a.
        size: ||theta(0)||_2.
        farthest: the greatest of ||W - W(0)||_F, ||U - U(0)||_F and ||a - a(0)||_2.
        sphere: relative change of ||I - W||_F^2 + ||U||_F^2, which gradient flow conserves for
            the identity and ReLU (docs/theory.md, section 12).
        output_sphere: the same of ||I - W||_F^2 + ||a||_2^2.
    """

    moved: float
    size: float
    farthest: float
    sphere: float
    output_sphere: float


def distance(config: TrialConfig, dataset: Dataset, w: Tensor, p: Tensor, a: Tensor) -> Distance:
    """Return the distance of a trial's weights from its initial ones.

    U moves by C X^T. With X = L diag(s) V^T its change in the basis L is diag(1/s) V^T (P - P_0),
    samples as rows; see `weights`.

    Args:
        config: the trial.
        dataset: its inputs.
        w: (m, m) current W.
        p: (n, m) current P = U X, samples as rows.
        a: (m,) current a.
    """
    x = dataset.x.T.double()  # (n, d): samples are rows, as in p
    inverse, whole = _inverse(config, x, max(x.shape) * torch.finfo(w.dtype).eps)
    moved, size = dict.fromkeys("wua", 0.0), dict.fromkeys("wua", 0.0)
    # 2 <theta(0), theta - theta(0)> of W - I, U and a; trace of W(0).
    across, trace = dict.fromkeys("wua", 0.0), 0.0
    for name, first, start in _initial_blocks(config, dataset):
        rows = slice(first, first + len(start))
        if name == "u":
            before = x.to(start.dtype) @ start.T
            change = inverse @ (p[:, rows].cpu() - before).double()
            at_start = start.T.double() if whole else inverse @ before.double()
            across[name] += 2 * float((at_start * change).sum())
        elif name == "w":
            change = (w[rows].cpu() - start).double()
            across[name] += 2 * float((start * change).sum() - change.diagonal(first).sum())
            trace += float(start.diagonal(first).sum())
        else:
            change = (a.cpu() - start).double()
            across[name] += 2 * float((start * change).sum())
        moved[name] += float(change.square().sum())
        size[name] += float(start.double().square().sum())
    squares = moved.values()
    grown = {name: across[name] + moved[name] for name in "wua"}
    first_w = size["w"] - 2 * trace + len(w)  # ||I - W(0)||_F^2
    return Distance(
        math.sqrt(sum(squares)),
        math.sqrt(sum(size.values())),
        math.sqrt(max(squares)),
        (grown["w"] + grown["u"]) / (first_w + size["u"]),
        (grown["w"] + grown["a"]) / (first_w + size["a"]),
    )


def sphere_numbers(train: TrainConfig, sphere: float, output_sphere: float) -> Numbers:
    """Return the changes of the spheres, which are conserved only with one step size.

    Args:
        train: has the step sizes.
        sphere: see `Distance`.
        output_sphere: see `Distance`.
    """
    summary: dict[str, float] = {}
    notes: dict[str, str] = {}
    one_step = train.factor_w == train.factor_u and train.factor_bias is None
    for key, change, conserved, other in (
        ("theory/sphere_drift", sphere, one_step, "U"),
        ("theory/sphere_drift_output", output_sphere, train.factor_w == train.factor_a, "a"),
    ):
        if conserved:
            summary[key] = change
        else:
            notes[key] = f"W and {other} have other step sizes: no sphere is conserved"
    return summary, notes


def _inverse(config: TrialConfig, x: Tensor, rtol: float) -> tuple[Tensor, bool]:
    """Return what gives the change of U when P - P_0 is multiplied with it, and in which basis.

    Args:
        config: the trial.
        x: (n, d) inputs, samples as rows.
        rtol: share of the greatest singular value up to which none is inverted.

    Returns:
        A matrix (., n), and whether the change is U's own, (d, .), not that in the basis L.
    """
    if config.train.factor_bias is not None:
        return inverse_of(config, x, rtol), True
    v, s, _ = torch.linalg.svd(x, full_matrices=False)
    kept = s > rtol * s[0]
    return v[:, kept].T / s[kept, None], False


def _initial_blocks(config: TrialConfig, dataset: Dataset) -> Iterator[tuple[str, int, Tensor]]:
    """Name, first row and rows of parts of the initial W, U and a."""
    if config.model.init == "redraw":
        parts = starting_weights([config], [dataset], torch.device("cpu"))
        yield from ((name, 0, part[0]) for name, part in zip("wua", parts, strict=True))
    else:
        d = dataset.x.shape[0]
        yield from draw_blocks(config.model, config.seed, d, config.torch_dtype)
