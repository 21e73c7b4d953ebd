"""A GD step of tanh compiled as one function by torch.compile, against the same step as it is.

    python -m benchmarks.compiled [--json] [--width 128] [--samples 64]

The step does what the engine does for one trial that meets its tolerance with one map a fixed
point: both predictions, both maps and their residuals, the fit of the next predictions, and the
update of W, P and a. It keeps no books on single samples, so that its time is less than the
engine's. Blocks of both take turns in one process, over blocks of single products. Needs a C++
compiler; compiling takes a minute or more.
"""

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.timing import Spread, report, seconds
from deq.linalg.hardware import set_threads
from deq.solvers.sizes import PREDICTION_DEPTH as DEPTH

# Products of the step: one map of each fixed point and the gradient.
PRODUCTS = 3
# Steps of a block, and blocks.
BLOCK, TURNS = 50, 10


class Side(NamedTuple):
    """A fixed point (n, m) with what predicts the next one.

    Attributes:
        last: (n, m) its value.
        differences: its last DEPTH differences, (n, m) each.
        factors: (n, DEPTH, 1) factors of the differences in the prediction.
        inner: (n, DEPTH, DEPTH) their inner products.
    """

    last: Tensor
    differences: tuple[Tensor, ...]
    factors: Tensor
    inner: Tensor


class State(NamedTuple):
    """Weights W (m, m), P = U X (n, m) and a (m), with both fixed points."""

    w: Tensor
    p: Tensor
    a: Tensor
    equilibrium: Side
    adjoint: Side


Step = Callable[[State, Tensor, Tensor, Tensor], tuple[State, Tensor]]


def predicted(side: Side) -> Tensor:
    """Return the start of the next solve."""
    start = side.last
    for difference, factor in zip(side.differences, side.factors.unbind(1), strict=True):
        start = torch.addcmul(start, difference, factor)
    return start


def pushed(side: Side, value: Tensor) -> Side:
    """Add a solved value, and fit the next prediction."""
    new = value - side.last
    products = torch.stack([(new * old).sum(-1) for old in (new, *side.differences)], -1)
    size = side.inner.diagonal(dim1=-2, dim2=-1).sum(-1)
    ridge = torch.finfo(new.dtype).eps * torch.eye(DEPTH, dtype=new.dtype)
    normal = side.inner + ridge * size[:, None, None]
    factors = torch.linalg.solve_ex(normal, products[:, 1:, None]).result.nan_to_num(0.0)
    rows = torch.cat([products[:, 1:DEPTH, None], side.inner[:, :-1, :-1]], -1)
    inner = torch.cat([products[:, None, :DEPTH], rows], -2)
    return Side(value, (new, *side.differences[:-1]), factors, inner)


def residual(value: Tensor, start: Tensor) -> Tensor:
    """Return the worst relative residual of a sample."""
    sizes = torch.linalg.vector_norm(value, dim=-1)
    worst: Tensor = (torch.linalg.vector_norm(value - start, dim=-1) / sizes).amax()
    return worst


def step(state: State, xx: Tensor, y: Tensor, eta: Tensor) -> tuple[State, Tensor]:
    """Take a GD step; return the state after it, with both residuals and the loss."""
    w, p, a, equilibrium, adjoint = state
    start = predicted(equilibrium)
    q = torch.addmm(p, torch.tanh(start), w.mT)
    z = torch.tanh(q)
    e, slope = z @ a - y, 1 - z * z
    start_v = predicted(adjoint)
    v = torch.addmm(a.expand_as(p), slope * start_v, w)
    scaled = (eta * e)[:, None] * (slope * v)
    after = State(
        torch.addmm(w, scaled.mT, z, alpha=-1),
        torch.addmm(p, xx, scaled, alpha=-1),
        a - eta * (e @ z),
        pushed(equilibrium, q),
        pushed(adjoint, v),
    )
    return after, torch.stack([residual(q, start), residual(v, start_v), 0.5 * (e @ e)])


def measure(width: int, samples: int) -> list[tuple[str, Any]]:
    """Compile the step and time blocks of both by turns; return the lines of the result."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"dtype": torch.float64}
    x = torch.randn(samples, samples, **options)
    fixed = x @ x.mT, torch.randn(samples, **options), torch.tensor(1e-7, **options)
    p = torch.randn(samples, width, **options)
    side = Side(
        p,
        tuple(torch.randn_like(p) for _ in range(DEPTH)),
        torch.zeros(samples, DEPTH, 1, **options),
        torch.eye(DEPTH, **options).repeat(samples, 1, 1),
    )
    w = torch.randn(width, width, **options) * math.sqrt(0.08 / width)
    state = State(w, p, torch.randn(width, **options), side, side)
    began = time.perf_counter()
    compiled: Step = torch.compile(step, fullgraph=True)
    _block(compiled, state, fixed, 3)
    compiling = time.perf_counter() - began
    out = torch.empty_like(p)
    ratios: dict[str, list[float]] = {"as it is": [], "compiled": []}
    for _ in range(TURNS):
        unit = seconds(lambda: _products(p, w, out)) / BLOCK
        for name, function in (("as it is", step), ("compiled", compiled)):
            each = seconds(partial(_block, function, state, fixed, BLOCK)) / BLOCK
            ratios[name].append(each / (PRODUCTS + samples / width) / unit)
    one, other = step(state, *fixed)[0].w, compiled(state, *fixed)[0].w
    rounding = torch.finfo(one.dtype).eps * one.abs().max()
    return [
        ("compiling, s", compiling),
        *[(f"time over its products', {name}", Spread.of(v)) for name, v in ratios.items()],
        (
            "greatest difference of W after a step, in units of its rounding",
            float((one - other).abs().max() / rounding),
        ),
    ]


def _products(z: Tensor, w: Tensor, out: Tensor) -> None:
    for _ in range(BLOCK):
        torch.addmm(z, z, w.mT, out=out)


def _block(function: Step, state: State, fixed: tuple[Tensor, Tensor, Tensor], count: int) -> None:
    """Take this many steps, and read the figures of each, as the stopping rule does."""
    for _ in range(count):
        state, figures = function(state, *fixed)
        figures.tolist()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compiled", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--samples", type=int, default=64)
    options = parser.parse_args()
    set_threads(1)
    title = f"tanh, m {options.width}, n {options.samples}, float64, one map a fixed point"
    with torch.inference_mode():
        report(title, measure(options.width, options.samples), as_json=options.json)


if __name__ == "__main__":
    main()
