"""Population limits of users' own activations: fast ones, ones that are not analytic, own duals.

The references do not use deq: closed forms, mpmath, and a quadrature in the plane that is
split at the kinks.
"""

import dataclasses
import itertools
import math

import mpmath
import numpy
import pytest
import torch

from deq.activations import duals
from deq.activations.activation import Activation
from deq.activations.builtin import ACTIVATIONS
from deq.activations.validation import check
from deq.data import SphereConfig, load
from deq.theory.population import population


def wave(omega, phase):
    """cos(omega x - phase)."""
    return Activation(
        name="wave",
        function=lambda x: torch.cos(omega * x - phase),
        derivative=lambda x: -omega * torch.sin(omega * x - phase),
        lipschitz=omega,
        curvature=omega**2,
        at_zero=math.cos(phase),
        smooth=True,
    )


@pytest.mark.parametrize("phase", [0.0, math.pi / 2, 0.8])
@pytest.mark.parametrize("omega", [7.0, 222.1441469, 444.2882938, 888.5765876, 1e3, 3e4])
def test_the_error_of_a_fast_activation_is_a_bound(omega, phase):
    """Frequencies at which the trapezoidal rule and the one of twice its spacing alias.

    E[cos(w u - p) cos(w v - p)] is (e^{-w^2 (q - c)} + cos(2 p) e^{-w^2 (q + c)}) / 2. At q = 2
    the grid of spacing 0.01 takes cos^2(444.288 x) for the constant 1.
    """
    x = load(SphereConfig(n=4, d=6, seed=8)).x
    result = population(x, wave(omega, phase), sigma_w2=1e-3 / omega**2)
    c = 2 * x.T @ x / 6 + 2 * 1e-3 / omega**2 * result.gram
    q = torch.tensor(result.q, dtype=torch.float64)
    c.fill_diagonal_(result.q)
    exact = torch.exp(omega**2 * (c - q)) + math.cos(2 * phase) * torch.exp(-(omega**2) * (c + q))
    assert float((result.gram - exact / 2).abs().amax()) <= result.error
    # L and M = omega^2 leave some multiple of M times the square of the points' distance, 1e-5.
    if omega < 900:
        assert result.error < 5e-10 * omega**2


@pytest.mark.parametrize(("place", "norm"), [(0.6909830056250525, 9.0), (0.337, 6.0), (0.5, 3.0)])
def test_a_bump_between_all_nodes_is_within_the_error(place, norm):
    """Narrow, but seen by the check of phi, and placed between the points of all rules at this q.

    At (0.381966 + 1) / 2 of a spacing the three trapezoidal grids leave the widest gap, 0.62
    of it; the panels' nodes have one in their middle. The panels are compared at points so
    close that L and M bound what is in between.
    """
    width, height, q = 0.008, 0.005, 2 * norm**2 + 0.0379
    at = math.sqrt(q) * 0.01 * (7 + place)

    def bump(x):
        return height * torch.exp(-(((x - at) / width) ** 2))

    phi = Activation(
        "bump",
        lambda x: torch.arctan(x) + bump(x),
        lambda x: 1 / (1 + x * x) - 2 * (x - at) / width**2 * bump(x),
        lipschitz=1.0,
        curvature=2 * height / width**2 + 0.65,
        at_zero=0.0,
        smooth=True,
    )
    x = load(SphereConfig(n=3, d=7, seed=4, norm=norm)).x
    result = population(x, phi, sigma_w2=0.01, norm=norm * math.sqrt(7))
    g = numpy.linspace(-13, 13, 2_600_001)
    density = numpy.exp(-g * g / 2) * 1e-5 / math.sqrt(2 * math.pi)
    u = math.sqrt(result.q) * g
    slow = numpy.arctan(u)
    exact = slow + height * numpy.exp(-(((u - at) / width) ** 2))
    slope = 1 / (1 + u * u) - 2 * (u - at) / width**2 * (exact - slow)
    part = float(density @ (exact**2 - slow**2))
    assert part > 1e-7  # what a rule misses that has no node in the bump
    assert abs(float(result.gram[0, 0]) - float(density @ exact**2)) <= result.error < 1e-5
    assert abs(float(result.gram_dot[0, 0]) - float(density @ slope**2)) <= result.error_dot


def test_only_own_activations_need_the_bound_by_l_and_m(monkeypatch):
    """The rules for built-in ones and their errors are what they were: these are analytic."""
    monkeypatch.setattr("deq.theory.dual_activation.bounded_rules", None)
    x = load(SphereConfig(n=3, d=5)).x
    for name in ACTIVATIONS:
        assert population(x, name, sigma_w2=0.05).error < 1e-12
    with pytest.raises(TypeError):
        population(x, SOFTSIGN, sigma_w2=0.05)


def test_a_small_fast_part_is_seen():
    """It is 1e-6 of phi, and shows in neither L nor M; an alias would be an error of 1e-6."""
    omega = 444.2882938
    part = 1e-6
    phi = Activation(
        name="rough",
        function=lambda x: torch.arctan(x) + part * torch.cos(omega * x) + 1,
        derivative=lambda x: 1 / (1 + x * x) - part * omega * torch.sin(omega * x),
        lipschitz=1.0,
        curvature=1.0,
        at_zero=1 + part,
        smooth=True,
    )
    x = load(SphereConfig(n=3, d=5, seed=1)).x
    result = population(x, phi, sigma_w2=0.0)
    g = numpy.linspace(-13, 13, 1_300_001)
    density = numpy.exp(-g * g / 2) * 2e-5 / math.sqrt(2 * math.pi)
    u = math.sqrt(2) * g
    exact = float(density @ (numpy.arctan(u) + part * numpy.cos(omega * u) + 1) ** 2)
    assert abs(float(result.gram[0, 0]) - exact) <= result.error + 1e-15
    assert result.error < 1e-9


# Activations with a finite curvature that are not analytic: (torch, numpy, kinks of phi').
def softsign(x):
    return x / (1 + abs(x))


SOFTSIGN = Activation(
    "softsign", torch.nn.functional.softsign, lambda x: (1 + x.abs()) ** -2, 1.0, 2.0, 0.0, False
)
ELU = Activation(
    "elu", torch.nn.functional.elu, lambda x: x.clamp_max(0).exp(), 1.0, 1.0, 0.0, False
)
HUBER = Activation(  # bends in between two points that no grid holds
    "huber",
    lambda x: (
        torch.where(x < 0.3141, 0 * x, (x - 0.3141).clamp(0, 1.1) ** 2 / 2.2)
        + (x - 1.4141).clamp_min(0)
    ),
    lambda x: ((x - 0.3141) / 1.1).clamp(0, 1),
    1.0,
    1 / 1.1,
    0.0,
    False,
)
ROUGH = [
    (SOFTSIGN, softsign, (0.0,)),
    (ELU, lambda x: numpy.where(x > 0, x, numpy.expm1(numpy.minimum(x, 0))), (0.0,)),
    (
        HUBER,
        lambda x: numpy.clip(x - 0.3141, 0, 1.1) ** 2 / 2.2 + numpy.maximum(x - 1.4141, 0),
        (0.3141, 1.4141),
    ),
]


LEGENDRE = [part.astype(numpy.longdouble) for part in numpy.polynomial.legendre.leggauss(16)]


def nodes(breaks, low=-12.0, high=12.0):
    """Gauss-Legendre nodes and weights in longdouble on panels between the breaks."""
    ends = numpy.concatenate([[low], numpy.clip(numpy.sort(breaks), low, high), [high]])
    edges = numpy.concatenate([numpy.linspace(a, b, 17) for a, b in itertools.pairwise(ends)])
    t, w = LEGENDRE
    half = numpy.diff(edges.astype(numpy.longdouble))[:, None] / 2
    g = (edges[:-1, None] + half * (1 + t)).ravel()
    pi = numpy.longdouble(math.pi)
    return g, (half * w).ravel() * numpy.exp(-g * g / 2) / numpy.sqrt(2 * pi)


def in_the_plane(f, kinks, q, rho):
    """E[f(u) f(v)] by a quadrature of u, and of v given u, each split at its kinks."""
    kinks, across = numpy.array(kinks), math.sqrt((1 - rho) * (1 + rho))
    u, weight = nodes(kinks / math.sqrt(q))
    if across == 0:
        return float(weight @ (f(math.sqrt(q) * u) * f(math.sqrt(q) * rho * u)))
    total = numpy.longdouble(0)
    for at, part in zip(u, weight, strict=True):
        if part < 1e-22:
            continue
        v, inner = nodes((kinks / math.sqrt(q) - rho * float(at)) / across)
        total += part * f(math.sqrt(q) * at) * (inner @ f(math.sqrt(q) * (rho * at + across * v)))
    return float(total)


@pytest.mark.parametrize(("phi", "plain", "kinks"), ROUGH, ids=lambda p: getattr(p, "name", ""))
def test_an_activation_of_finite_curvature_has_a_limit(phi, plain, kinks):
    """K and q by Picard iteration on the reference, within their bounds, which are small."""
    check(phi)
    sigma_w2 = 0.05
    x = load(SphereConfig(n=3, d=4, seed=6)).x
    result = population(x, phi, sigma_w2=sigma_w2)
    q = 2.0
    for _ in range(40):
        q = 2 * (sigma_w2 * in_the_plane(plain, kinks, q, 1.0) + 1)
    assert abs(result.q - q) <= 2 * sigma_w2 * result.error + 1e-14
    assert result.error < 1e-9
    assert result.resolved
    for i, j in ((0, 1), (1, 2)):
        value = float(result.gram[i, j])
        for _ in range(2):  # a contraction by 0.1, from deq's value
            c = 2 * (sigma_w2 * value + float(x[:, i] @ x[:, j]) / 4)
            value = in_the_plane(plain, kinks, q, c / q)
        assert abs(float(result.gram[i, j]) - value) <= result.error + 1e-14


def test_the_energy_of_softsign_against_mpmath():
    result = population(load(SphereConfig(n=2, d=3)).x, SOFTSIGN, sigma_w2=0.0)
    with mpmath.workdps(25):
        exact = 2 * mpmath.quad(
            lambda g: softsign(mpmath.sqrt(2) * g) ** 2 * mpmath.npdf(g), [0, 2, 14]
        )
    assert abs(float(result.gram[0, 0]) - float(exact)) <= min(result.error, 1e-14) + 1e-16


def leaky(slope, dual):
    return Activation(
        name="mine",
        function=lambda x: torch.where(x > 0, x, slope * x),
        derivative=lambda x: slope + (1 - slope) * (x > 0).to(x.dtype),
        lipschitz=1.0,
        curvature=math.inf,
        at_zero=0.0,
        smooth=False,
        dual=dual,
    )


def absolute(q, c):
    gram, gram_dot = duals.relu(q, c)
    return 4 * gram - c, 4 * gram_dot - 1


ABSOLUTE = dataclasses.replace(
    leaky(-1.0, absolute),
    function=torch.abs,
    derivative=lambda x: torch.where(x > 0, torch.ones_like(x), -torch.ones_like(x)),
)


@pytest.mark.parametrize("phi", [leaky(0.2, duals.leaky_relu(0.2)), ABSOLUTE])
def test_a_right_closed_form_of_a_kinked_activation_passes(phi):
    check(phi)


@pytest.mark.parametrize(
    "phi",
    [
        leaky(0.2, duals.leaky_relu(0.19)),
        leaky(0.2, duals.leaky_relu(0.2 + 1e-11)),
        dataclasses.replace(
            ABSOLUTE, dual=lambda q, c: (absolute(q, c)[0] + 1e-12, absolute(q, c)[1])
        ),
        dataclasses.replace(
            ABSOLUTE, dual=lambda q, c: (absolute(q, c)[0], absolute(q, c)[1] - 1e-12)
        ),
        dataclasses.replace(
            SOFTSIGN,
            smooth=True,
            name="tanh",
            function=torch.tanh,
            curvature=0.7698003589195009,
            derivative=lambda x: 1 - torch.tanh(x) ** 2,
            dual=lambda q, c: (c / (1 + 2 * q), 1 / (1 + 2 * q) + 0 * c),
        ),
    ],
)
def test_a_wrong_closed_form_is_refused(phi):
    with pytest.raises(ValueError, match="dual says"):
        check(phi)


def test_an_own_closed_form_is_checked_at_the_trials_own_variance():
    """One that is right only at the two variances that the check of phi looks at."""

    def dual(q, c):
        gram, gram_dot = duals.leaky_relu(0.3)(q, c)
        return (gram, gram_dot) if q in (1.0, 2.5) else (0.995 * gram, gram_dot)

    phi = leaky(0.3, dual)
    check(phi)
    with pytest.raises(ValueError, match=r"dual says E\[phi\(u\) phi\(v\)\] = .* at q = 2.24"):
        population(load(SphereConfig(n=3, d=4)).x, phi, sigma_w2=0.1)


@pytest.mark.parametrize("off", [0.0, 2e-14])
def test_the_error_of_an_own_closed_form_is_what_it_was_checked_to(off):
    """A dual that passes its check, wrong by as much as that allows, is within the bound."""

    def dual(q, c):
        gram, gram_dot = duals.leaky_relu(0.2)(q, c)
        return gram + off, gram_dot

    phi = leaky(0.2, dual)
    check(phi)
    result = population(load(SphereConfig(n=3, d=4)).x, phi, sigma_w2=0.0)
    assert abs(float(result.gram[0, 0]) - 1.04) <= result.error
