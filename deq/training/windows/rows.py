"""Rows of the trajectory inside a window: losses at all steps, eigenvalues at some."""

import copy

import torch
from torch import Tensor

from deq.theory.kernels import tangent
from deq.training.training_run import Row, TrainingRun, blank_row
from deq.training.windows.kinked_path import KinkedPath
from deq.training.windows.window import Window

AnyWindow = Window | KinkedPath

# Number of steps whose Gram matrices are decomposed at once.
CHUNK = 64


def losses(e: Tensor) -> list[float]:
    """Return the losses 1/2 ||e||^2 of errors e (T, n)."""
    values: list[float] = (0.5 * e.square().sum(-1)).tolist()
    return values


def end_of_training(run: TrainingRun, window: AnyWindow) -> int | None:
    """Return the steps from the window's start after which the trial ends; None if it goes on."""
    first, probe = window.nodes.steps[0], copy.copy(run)
    start = run.rows[0]
    for k, loss in enumerate(losses(window.e[1:]), start=1):
        probe.rows = [start, {"step": float(first + k), "loss": loss}]
        probe.check_stop()
        if probe.status is not None:
            return k
    return None


def rows_inside(window: AnyWindow, every: int) -> list[Row]:
    """Return the rows of the steps between the first and the last step of a window.

    Eigenvalues and the norm of the gradient, (e^T H e)^(1/2), follow from the window's
    polynomials. ||W||_2 is not computed inside a window.

    Args:
        window: a window that has been solved.
        every: diagnostics.every; eigenvalues are computed at the steps that it divides.
    """
    first, count = window.nodes.steps[0], len(window.e) - 1
    rounding = float(torch.finfo(window.nodes.q.dtype).eps)
    rows = [
        blank_row(first + k) | {"loss": loss, "rounding": rounding}
        for k, loss in enumerate(losses(window.e[1:-1]), start=1)
    ]
    due = [k for k in range(1, count) if (first + k) % every == 0]
    for begin in range(0, len(due), CHUNK):
        part = due[begin : begin + CHUNK]
        for k, values in zip(part, _spectra(window, part), strict=True):
            rows[k - 1] |= values
    return rows


def _spectra(window: AnyWindow, places: list[int]) -> list[Row]:
    """Return eigenvalues and gradient norms at some steps, counted from the window's start."""
    g, b = window.grams(places)
    h, e = tangent(g, b, window.network.xx), window.e[places]
    spectra = {
        "lambda_min_gram": torch.linalg.eigvalsh(g)[:, 0],
        "lambda_min_tangent": torch.linalg.eigvalsh(h)[:, 0],
        "grad_norm": torch.einsum("ti,tij,tj->t", e, h, e).clamp_min(0).sqrt(),
    }
    columns = {name: values.tolist() for name, values in spectra.items()}
    return [{name: column[k] for name, column in columns.items()} for k in range(len(places))]
