"""Checks of an activation: its derivative, its constants and its dual.

The built-in activations are checked by the tests, a user's own before it is used.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from deq.activations.activation import DUAL_UNITS, Activation, rounding
from deq.activations.gaussian import Rule, hermite_functions, rule_for

_SPACING = 1e-3  # of the grid on [-30, 30] that L and M are compared on
_STEP = 1e-5  # of the finite differences
_KINKS = 20  # most grid points next to a kink
_LARGE = 1e4
_DUAL_AT = (1.0, 2.5)  # variances; a trial's own is checked when it is known
_TERMS = 400  # of a dual's series: 0.9^400 is 5e-19
_EPS = torch.finfo(torch.float64).eps


def check(phi: Activation) -> None:
    """Check that an activation's fields describe its function.

    On a grid of spacing 1e-3 on [-30, 30], and on points further out to 1e4: phi and
    phi' keep shape and dtype, leave their argument alone, act entrywise and are finite;
    phi(0) to 1e-12; phi' against central differences of step 1e-5, and from phi's value
    to 1e-12; L to -1e-9 and +1e-3, M to -1e-6 and +1e-2, relative; sup |phi| from below,
    out to 1e18; the dual at the
    variances 1 and 2.5 against quadrature, to DUAL_UNITS units of rounding.

    Raises:
        ValueError: the first check that fails, in one line.
    """
    _check_fields(phi)
    for what, f in (("function", phi.function), ("derivative", phi.derivative)):
        _check_entrywise(what, f)
    zero = float(phi.function(torch.zeros(1, dtype=torch.float64))[0])
    if not abs(zero - phi.at_zero) <= 1e-12:  # NaN is not
        raise ValueError(f"at_zero is {phi.at_zero:.9g}, but the function at 0 is {zero:.9g}")
    _check_derivative(phi)
    _check_derivative_of_value(phi)
    _check_constants(phi)
    _check_bounded(phi)
    if phi.dual is not None:
        for q in _DUAL_AT:
            check_dual(phi, q)


@contextlib.contextmanager
def _reporting(what: str) -> Iterator[None]:
    """Turn whatever a user's function raises into a ValueError of one line."""
    try:
        yield
    except Exception as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{what} fails: {type(error).__name__}: {why}") from error


def _check_fields(phi: Activation) -> None:
    """Check that the fields are possible and agree with each other."""
    if not 0 < phi.lipschitz < math.inf:
        raise ValueError(f"lipschitz must be above 0 and finite, not {phi.lipschitz}")
    if not phi.bounded > 0:  # true for NaN as well
        raise ValueError(f"bounded must be above 0, not {phi.bounded}")
    if not phi.curvature >= 0:  # true for NaN as well
        raise ValueError(f"curvature must be at least 0, not {phi.curvature}")
    if phi.smooth and phi.curvature == math.inf:
        raise ValueError("curvature is infinite: a kinked activation has smooth=False")
    if phi.polynomial != (phi.curvature == 0):
        raise ValueError(
            f"polynomial={phi.polynomial} contradicts curvature={phi.curvature:.6g}: "
            "a polynomial of bounded slope is a line"
        )


def _check_entrywise(what: str, f: Callable[[Tensor], Tensor]) -> None:
    """Check shape, dtype, that the argument is unchanged, entrywise action, finite values."""
    for dtype in (torch.float64, torch.float32):
        x = torch.linspace(-3, 3, 24, dtype=dtype).reshape(2, 3, 4)
        before = x.clone()
        with _reporting(what):
            y = f(x)
            reversed_y = f(x.flip(0, 1, 2).flatten())
            far = f(torch.tensor([-_LARGE, _LARGE], dtype=dtype))
        if not isinstance(y, Tensor) or y.shape != x.shape or y.dtype != dtype:
            got = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(f"{what} turns {dtype} {tuple(x.shape)} into {got}")
        if not torch.equal(x, before) or y.data_ptr() == x.data_ptr():
            raise ValueError(f"{what} changes or returns its argument: return a new tensor")
        _check_finite(what, x, y)
        tol = 8 * torch.finfo(dtype).eps
        if not torch.allclose(reversed_y.flip(0), y.flatten(), rtol=tol, atol=tol):
            raise ValueError(f"{what} does not act entry by entry")
        if not bool(far.isfinite().all()):
            raise ValueError(f"{what} is not finite at x = -1e4 or 1e4 in {dtype}")


def _check_finite(what: str, x: Tensor, y: Tensor) -> None:
    """Check that the values y at the points x are finite."""
    places = (~y.isfinite()).flatten().nonzero()
    if len(places):
        at, value = (float(points.flatten()[places[0, 0]]) for points in (x, y))
        raise ValueError(f"{what} is {value} at x = {at:.6g} in {x.dtype}: it must be finite")


def _grid() -> Tensor:
    """Return grid points midway between multiples of the spacing, where kinks tend to be."""
    half = (torch.arange(30_000, dtype=torch.float64) + 0.5) * _SPACING
    return torch.cat([-half.flip(0), half])


def _grid_and_beyond() -> Tensor:
    """Return the grid and points out to 1e4, for limits that are approached slowly."""
    far = torch.logspace(math.log10(31), math.log10(_LARGE), 200, dtype=torch.float64)
    return torch.cat([_grid(), far, -far])


def _check_derivative(phi: Activation) -> None:
    """Check phi' against central differences of step h, up to M h / 2 and rounding."""
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


def _check_derivative_of_value(phi: Activation) -> None:
    """Check phi' computed from phi(x) against phi' computed from x, to 1e-12 L."""
    x = _grid_and_beyond()
    slope = phi.derivative_at(x, phi.function(x))
    wrong = ~((slope - phi.derivative(x)).abs() <= 1e-12 * phi.lipschitz)
    if bool(wrong.any()):
        at = int(wrong.int().argmax())
        raise ValueError(
            f"derivative_of_value at x = {float(x[at]):.6g} is {float(slope[at]):.9g}, "
            f"but derivative gives {float(phi.derivative(x)[at]):.9g}"
        )


def _check_constants(phi: Activation) -> None:
    """Check L and M on the grid.

    By the mean value theorem no difference quotient of phi' exceeds M, so this also finds
    kinks if `curvature` is finite.
    """
    x = _grid_and_beyond()
    rounding = 8 * _EPS * phi.lipschitz
    _compare("lipschitz", phi.lipschitz, phi.derivative(x).abs(), x, (1e-9, 1e-3), rounding)
    if math.isfinite(phi.curvature):
        x = _grid()
        bend = phi.derivative(x).diff().abs() / _SPACING
        _compare("curvature", phi.curvature, bend, x, (1e-6, 1e-2), rounding / _SPACING)


def _check_bounded(phi: Activation) -> None:
    """Check that |phi| exceeds its supremum nowhere, out to 1e18, up to rounding."""
    if math.isinf(phi.bounded):
        return
    far = torch.logspace(math.log10(_LARGE), 18, 57, dtype=torch.float64)
    x = torch.cat([_grid_and_beyond(), far, -far])
    values = phi.function(x).abs()
    at = int(values.nan_to_num(-1.0, posinf=math.inf).argmax())
    if float(values[at]) > phi.bounded * (1 + 8 * _EPS):
        raise ValueError(
            f"bounded is {phi.bounded:.9g}, but |phi| is {float(values[at]):.9g} at "
            f"x = {float(x[at]):.6g}"
        )


def _compare(
    what: str, stated: float, values: Tensor, x: Tensor, tol: tuple[float, float], rounding: float
) -> None:
    """Check a stated supremum against values (T,) at x; tol: relative, above and below."""
    at = int(values.argmax())
    greatest = float(values[at])
    low, high = stated * (1 - tol[1]) - rounding, stated * (1 + tol[0]) + rounding
    if not low <= greatest <= high:
        order = "|phi'|" if what == "lipschitz" else "|phi''|"
        raise ValueError(
            f"{what} is {stated:.9g}, but the greatest {order} found is {greatest:.9g}, "
            f"at x = {float(x[at]):.6g}"
        )


def check_dual(phi: Activation, q: float) -> None:
    """Check the dual against E[f(u) f(v)] = sum_r mu_r^2 rho^r, to what it is trusted for.

    The coefficients come from a quadrature that resolves kinks. At |rho| = 0.9 the sum's rest
    is below rounding; at rho = 1 it is E[f(u)^2], an integral.

    Args:
        phi: an activation with a dual.
        q: variance of u and of v at which it is checked.

    Raises:
        ValueError: it is wrong.
    """
    assert phi.dual is not None
    rhos = torch.tensor([-0.9, -0.4, 0.0, 0.3, 0.9, 1.0], dtype=torch.float64)
    with _reporting("dual"):
        values = phi.dual(q, q * rhos)
    rule = rule_for([phi.function, phi.derivative], q)
    exact = [_dual_values(f, rule, q, rhos) for f in (phi.function, phi.derivative)]
    tols = rounding(phi, q, float(exact[0][-1]), float(exact[1][-1]))
    for prime, value, right, tol in zip(("", "'"), values, exact, tols, strict=True):
        wrong = ~((value - right).abs() <= DUAL_UNITS * tol + rule.error)
        if bool(wrong.any()):
            at = int(wrong.int().argmax())
            raise ValueError(
                f"dual says E[phi{prime}(u) phi{prime}(v)] = {float(value[at]):.15g} at "
                f"q = {q:.6g}, c = {q * float(rhos[at]):.3g}, but quadrature gives "
                f"{float(right[at]):.15g}"
            )


def _dual_values(f: Callable[[Tensor], Tensor], rule: Rule, q: float, rhos: Tensor) -> Tensor:
    """Return E[f(u) f(v)] at correlations of at most 0.9, and 1 at the end."""
    values, density = f(math.sqrt(q) * rule.nodes), rule.density
    weighted = values * density.sqrt() * rule.weights
    powers, total = torch.ones_like(rhos), torch.zeros_like(rhos)
    for psi in itertools.islice(hermite_functions(rule), _TERMS):
        total += float((weighted * psi).sum()) ** 2 * powers
        powers = powers * rhos
    total[-1] = (values**2 * density * rule.weights).sum()
    return total
