"""Whether an activation is what it claims: its derivative, its constants, its dual.

The built-in ones pass as tests of this package; a user's own passes before it is used.
"""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from deq.activations.activation import Activation

_SPACING = 1e-3  # of the grid on [-30, 30] that L and M are compared on
_STEP = 1e-5  # of the finite differences
_KINKS = 20  # so many grid points of a kinked phi may lie beside a kink
_LARGE = 1e4
_EPS = torch.finfo(torch.float64).eps


def check(phi: Activation) -> None:
    """Refuse an activation that is not what it claims.

    On a grid of spacing 1e-3 on [-30, 30], and on points further out to 1e4: phi and
    phi' keep shape and dtype, leave their argument alone, act entrywise and are finite;
    phi(0) to 1e-12; phi' against central differences of step 1e-5, and from phi's value
    to 1e-12; L to -1e-9 and +1e-3, M to -1e-6 and +1e-2, relative; the dual against
    quadrature, to 1e-7 (smooth) or 1e-2.

    Raises:
        ValueError: in one line, the first thing that is wrong and where.
    """
    _claims(phi)
    for what, f in (("function", phi.function), ("derivative", phi.derivative)):
        _entrywise(what, f)
    zero = float(phi.function(torch.zeros(1, dtype=torch.float64))[0])
    if abs(zero - phi.at_zero) > 1e-12:
        raise ValueError(f"at_zero is {phi.at_zero:.9g}, but the function at 0 is {zero:.9g}")
    _slope(phi)
    _slope_of_value(phi)
    _constants(phi)
    if phi.dual is not None:
        _dual(phi)


def _claims(phi: Activation) -> None:
    """What the fields say together."""
    if not 0 < phi.lipschitz < math.inf:
        raise ValueError(f"lipschitz must be above 0 and finite, not {phi.lipschitz}")
    if not phi.curvature >= 0:  # true for NaN as well
        raise ValueError(f"curvature must be at least 0, not {phi.curvature}")
    if phi.smooth and phi.curvature == math.inf:
        raise ValueError("curvature is infinite: a kinked activation has smooth=False")
    if phi.polynomial != (phi.curvature == 0):
        raise ValueError(
            f"polynomial={phi.polynomial} contradicts curvature={phi.curvature:.6g}: "
            "a polynomial of bounded slope is a line"
        )


def _entrywise(what: str, f: Callable[[Tensor], Tensor]) -> None:
    """Shape, dtype, no change of the argument, entry by entry, finite far out."""
    for dtype in (torch.float64, torch.float32):
        x = torch.linspace(-3, 3, 24, dtype=dtype).reshape(2, 3, 4)
        before = x.clone()
        try:
            y = f(x)
            turned = f(x.flip(0, 1, 2).flatten())
            far = f(torch.tensor([-_LARGE, _LARGE], dtype=dtype))
        except Exception as error:  # whatever a user's function does
            why = " ".join(str(error).split())
            raise ValueError(f"{what} fails: {type(error).__name__}: {why}") from error
        if not isinstance(y, Tensor) or y.shape != x.shape or y.dtype != dtype:
            got = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(f"{what} turns {dtype} {tuple(x.shape)} into {got}")
        if not torch.equal(x, before) or y.data_ptr() == x.data_ptr():
            raise ValueError(f"{what} changes or returns its argument: return a new tensor")
        tol = 8 * torch.finfo(dtype).eps
        if not torch.allclose(turned.flip(0), y.flatten(), rtol=tol, atol=tol):
            raise ValueError(f"{what} does not act entry by entry")
        if not bool(far.isfinite().all()):
            raise ValueError(f"{what} is not finite at x = -1e4 or 1e4 in {dtype}")


def _grid() -> Tensor:
    """Points between the multiples of the spacing, where kinks tend to be."""
    half = (torch.arange(30_000, dtype=torch.float64) + 0.5) * _SPACING
    return torch.cat([-half.flip(0), half])


def _grid_and_beyond() -> Tensor:
    """The grid, and points out to 1e4 for what is approached slowly."""
    far = torch.logspace(math.log10(31), math.log10(_LARGE), 200, dtype=torch.float64)
    return torch.cat([_grid(), far, -far])


def _slope(phi: Activation) -> None:
    """phi' against central differences: within M h / 2 and rounding of them."""
    x = _grid_and_beyond()
    slope = (phi.function(x + _STEP) - phi.function(x - _STEP)) / (2 * _STEP)
    rounding = 8 * _EPS / _STEP * (phi.function(x).abs() + phi.lipschitz * x.abs())
    bend = phi.curvature if math.isfinite(phi.curvature) else 10 * phi.lipschitz
    miss = (slope - phi.derivative(x)).abs()
    wrong = ~(miss <= bend * _STEP / 2 + rounding + 1e-9)
    if int(wrong.sum()) > (0 if math.isfinite(phi.curvature) else _KINKS):
        at = int(torch.where(wrong, miss.nan_to_num(math.inf), -1.0).argmax())
        raise ValueError(
            f"derivative at x = {float(x[at]):.6g} is {float(phi.derivative(x)[at]):.9g}, "
            f"but finite differences of function give {float(slope[at]):.9g}"
        )


def _slope_of_value(phi: Activation) -> None:
    """phi' from phi's value, where the activation has it: to 1e-12 L of phi' from x."""
    x = _grid_and_beyond()
    found = phi.derivative_at(x, phi.function(x))
    wrong = ~((found - phi.derivative(x)).abs() <= 1e-12 * phi.lipschitz)
    if bool(wrong.any()):
        at = int(wrong.int().argmax())
        raise ValueError(
            f"derivative_of_value at x = {float(x[at]):.6g} is {float(found[at]):.9g}, "
            f"but derivative gives {float(phi.derivative(x)[at]):.9g}"
        )


def _constants(phi: Activation) -> None:
    """L and M against the grid.

    By the mean value theorem no difference quotient of phi' exceeds M, so that a kink
    the curvature keeps silent about shows as well.
    """
    x = _grid_and_beyond()
    rounding = 8 * _EPS * phi.lipschitz
    _compare("lipschitz", phi.lipschitz, phi.derivative(x).abs(), x, (1e-9, 1e-3), rounding)
    if math.isfinite(phi.curvature):
        x = _grid()
        bend = phi.derivative(x).diff().abs() / _SPACING
        _compare("curvature", phi.curvature, bend, x, (1e-6, 1e-2), rounding / _SPACING)


def _compare(
    what: str, stated: float, found: Tensor, x: Tensor, tol: tuple[float, float], rounding: float
) -> None:
    at = int(found.argmax())
    greatest = float(found[at])
    low, high = stated * (1 - tol[1]) - rounding, stated * (1 + tol[0]) + rounding
    if not low <= greatest <= high:
        order = "|phi'|" if what == "lipschitz" else "|phi''|"
        raise ValueError(
            f"{what} is {stated:.9g}, but the greatest {order} found is {greatest:.9g}, "
            f"at x = {float(x[at]):.6g}"
        )


def _dual(phi: Activation) -> None:
    """The dual against the trapezoidal rule on the bivariate Gaussian.

    It is exact for an analytic phi; at a kink it is off by the spacing times the jump.
    """
    assert phi.dual is not None
    g = torch.linspace(-10, 10, 401, dtype=torch.float64)
    weight = torch.exp(-g * g / 2) * (0.05 / math.sqrt(2 * math.pi))
    tol = 1e-7 if phi.smooth else 1e-2
    for q, rho in itertools.product((1.0, 2.5), (-0.7, 0.0, 0.9)):
        try:
            values = phi.dual(q, torch.tensor([q * rho], dtype=torch.float64))
        except Exception as error:  # whatever a user's function does
            why = " ".join(str(error).split())
            raise ValueError(f"dual fails: {type(error).__name__}: {why}") from error
        u = math.sqrt(q) * g[:, None]
        v = math.sqrt(q) * (rho * g[:, None] + math.sqrt(1 - rho**2) * g[None, :])
        for prime, f, value in zip(("", "'"), (phi.function, phi.derivative), values, strict=True):
            found, exact = float(value[0]), float(weight @ (f(u) * f(v)) @ weight)
            if not abs(found - exact) <= tol * max(1.0, phi.lipschitz**2):
                raise ValueError(
                    f"dual says E[phi{prime}(u) phi{prime}(v)] = {found:.9g} at q = {q}, "
                    f"c = {q * rho:.3g}, but quadrature gives {exact:.9g}"
                )
