"""Windows against GD taken step by step: the mathematics, without training around it."""

import dataclasses
import itertools
import math

import pytest
import torch

from deq.activations.lookup import activation
from deq.linalg.eigenvalues import greatest_eigenvalue
from deq.theory.kernels import gram, tangent
from deq.training.windows.check import deviation
from deq.training.windows.control import DEARER, Control
from deq.training.windows.error_recursion import (
    half_step_tangents,
    interpolation_error,
    moments,
    recursion,
)
from deq.training.windows.integrator import Integrator
from deq.training.windows.low_rank import (
    Network,
    Terms,
    Work,
    adjoints,
    apply,
    measured_error,
    no_terms,
    output_weights,
    preactivations,
)
from deq.training.windows.nodes import Nodes, States, inner_products
from deq.training.windows.polynomials import SHIFT, following, lagrange, node_steps, tau
from deq.training.windows.window import RejectedError

N, D, M = 5, 4, 40


def normal(*shape, seed=0):
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=stream, dtype=torch.float64)


def fixed_point(network, z=None, v=None):
    """Q and V of the network's weights, by a long plain iteration."""
    q = network.p.clone() if z is None else z
    v = network.a.expand_as(q) if v is None else v
    for _ in range(200):
        q = network.phi.function(q) @ network.w.mT + network.p
    slope = network.phi.derivative(q)
    for _ in range(200):
        v = (slope * v) @ network.w + network.a
    return q, v


def parts(network, q, v):
    z = network.phi.function(q)
    return z, network.phi.derivative(q) * v, z @ network.a - network.y


def drawn(name="tanh", eta=0.5, seed=0):
    """A network at eta in units of 2 / lambda_max(H)."""
    x = normal(N, D, seed=seed + 1)
    x = x / x.norm(dim=1, keepdim=True) * D**0.5
    w, u = normal(M, M, seed=seed) * (0.16 / M) ** 0.5, normal(M, D, seed=seed + 2) * (2 / D) ** 0.5
    a, y = normal(M, seed=seed + 3) / M**0.5, normal(N, seed=seed + 4)
    network = Network(w, x @ u.mT, a, x @ x.mT, y, 0.0, activation(name))
    z, r, _ = parts(network, *fixed_point(network))
    h = tangent(gram(z.mT), gram(r.mT), network.xx)
    return dataclasses.replace(network, eta=2 * eta / float(greatest_eigenvalue(h)))


def descended(network, q, v):
    """The network one GD step later."""
    z, r, e = parts(network, q, v)
    s = network.eta * r * e[:, None]
    return dataclasses.replace(
        network,
        w=network.w - s.mT @ z,
        p=network.p - network.xx @ s,
        a=network.a - network.eta * (e @ z),
    )


def trajectory(network, steps):
    """(network, q, v, e) at steps 0 .. steps."""
    path, q, v = [], None, None
    for _ in range(steps + 1):
        q, v = fixed_point(network, q, v)
        path.append((network, q, v, parts(network, q, v)[2]))
        network = descended(network, q, v)
    return path


def last_states(path, at):
    """A network that windows may move, its states at some steps, and e at the last of them."""
    states = States(
        at, torch.stack([path[s][1] for s in at]), torch.stack([path[s][2] for s in at])
    )
    network, _, _, e = path[at[-1]]
    own = {name: getattr(network, name).clone() for name in ("w", "p", "a")}
    return dataclasses.replace(network, **own, work=Work()), states, e


def test_polynomials_in_tau_are_reproduced():
    nodes = [3, 7, 16, 40]
    cubic = lambda s: 2 - tau(s) + 0.5 * tau(s) ** 3  # noqa: E731
    at = torch.arange(3, 60)
    interpolated = lagrange(nodes, at) @ cubic(torch.tensor(nodes))
    torch.testing.assert_close(interpolated, cubic(at), rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("start", "length"), [(0, 1), (0, 2), (5, 3), (5, 4), (17, 90), (10**5, 5)]
)
def test_nodes_are_whole_steps_that_rise_from_one_end_to_the_other(start, length):
    steps = node_steps(start, length, 4)
    assert (steps[0], steps[-1]) == (start, start + length)
    assert all(b > a for a, b in itertools.pairwise(steps))
    assert len(steps) == min(length, 4) + 1


def test_the_next_window_has_its_extent_in_tau():
    length = following(20, 50, 1.5)
    extent = math.log((50 + SHIFT + length) / (50 + SHIFT))
    assert extent == pytest.approx(1.5 * math.log((50 + SHIFT) / (30 + SHIFT)))


def test_the_recursion_and_its_moments_are_the_sums_they_stand_for():
    steps, h, eta = [2, 5, 9], 7, 0.1
    basis = lagrange(steps, torch.arange(2, 10))
    tangents, forcing = normal(3, N, N), normal(3, N, seed=1)
    e = recursion(basis, tangents, eta, normal(N, seed=2), forcing)
    for k in range(h):
        step = torch.einsum("l,lij->ij", basis[k], tangents)
        after = e[k] - eta * step @ e[k] + (basis[k + 1] - basis[k]) @ forcing
        torch.testing.assert_close(e[k + 1], after)
    c, b = moments(basis, e, [0, 3, h])
    for place, end in enumerate([0, 3, h]):
        all_c = torch.einsum("sj,sk,si->jki", basis[:end], basis[:end], e[:end])
        torch.testing.assert_close(c[place], all_c)
        torch.testing.assert_close(b[place], basis[:end].mT @ e[:end])


def test_the_half_step_tangent_moves_e_as_a_gd_step_does():
    """To second order in the change: steps ten times smaller leave a hundredth of the error."""
    errors = []
    for eta in (0.05, 0.005):
        (first, q, v, e), (_, q1, v1, after) = trajectory(drawn(eta=eta), 1)
        nodes = Nodes(States([0, 1], torch.stack([q, q1]), torch.stack([v, v1])), first.phi, Work())
        h = half_step_tangents(nodes.steps, nodes.zz, nodes.rr, first.xx)[0]
        errors.append(float((e - first.eta * h @ e - after).norm() / e.norm()))
    assert errors[0] < 1e-5
    assert errors[1] < 0.02 * errors[0]


def low_rank(network, seed=0):
    """Terms of three nodes at two steps, and the weights that they stand for, formed."""
    terms = Terms(normal(3, N, M, seed=seed), normal(3, N, M, seed=7), *_moments())
    formed = []
    for c, b in zip(terms.c, terms.b, strict=True):
        w = torch.einsum("jnm,jkn,knl->ml", terms.r, c, terms.z)
        p = network.xx @ torch.einsum("jn,jnm->nm", b, terms.r)
        a = torch.einsum("kn,knm->m", b, terms.z)
        moved = [
            v - network.eta * d
            for v, d in zip((network.w, network.p, network.a), (w, p, a), strict=True)
        ]
        formed.append(moved)
    return terms, formed


def _moments():
    return normal(2, 3, 3, N, seed=4), normal(2, 3, N, seed=5)


def test_maps_with_terms_of_low_rank_are_those_of_the_weights_formed():
    network = drawn()
    terms, formed = low_rank(network)
    z, r = normal(2, N, M, seed=8), normal(2, N, M, seed=9)
    zz = torch.stack([inner_products(x, terms.z, network.work) for x in z], dim=1)
    rr = torch.stack([inner_products(x, terms.r, network.work) for x in r], dim=1)
    a = output_weights(network, terms)
    q, v = preactivations(network, terms, z, zz), adjoints(network, terms, r, rr, a)
    for k, (w, p, output) in enumerate(formed):
        torch.testing.assert_close(a[k], output)
        torch.testing.assert_close(q[k], z[k] @ w.mT + p)
        torch.testing.assert_close(v[k], r[k] @ w + output)
    assert network.work.large == 4  # two states, each with W and with W^T


def test_terms_are_applied_and_taken_back():
    network = drawn()
    terms, formed = low_rank(network)
    last = Terms(terms.z, terms.r, terms.c[1:], terms.b[1:])
    moved = dataclasses.replace(
        network, w=network.w.clone(), p=network.p.clone(), a=network.a.clone()
    )
    apply(moved, last)
    for part, right in zip((moved.w, moved.p, moved.a), formed[1], strict=True):
        torch.testing.assert_close(part, right)
    apply(dataclasses.replace(moved, eta=-moved.eta), last)
    torch.testing.assert_close(moved.w, network.w)


def test_a_measured_error_is_right_to_second_order():
    """A tenth of the error in Q and V leaves a hundredth of that of e."""
    network, errors = drawn(), []
    q, v = fixed_point(network)
    e = parts(network, q, v)[2]
    for size in (1e-3, 1e-4):
        near, other = q + size * normal(N, M, seed=3), v + size * normal(N, M, seed=4)
        z, r, _ = parts(network, near, other)
        change = (z @ network.w.mT + network.p - near)[None]
        a = output_weights(network, no_terms(network))
        measured = measured_error(network, z[None], r[None], change, a)[0]
        errors.append(float((measured - e).norm()))
    assert errors[1] < 0.02 * errors[0]


@pytest.mark.parametrize("degree", [2, 3])
def test_the_interpolation_error_is_that_of_a_tangent_of_one_degree_more(degree):
    """H~ a polynomial of degree + 1 in tau: the estimate is exact to first order."""
    steps, eta = node_steps(20, 30, degree), 1e-3
    at = torch.arange(20, 51)
    shape = normal(N, N) / 10
    curve = lambda s: (tau(s) ** (degree + 1))[:, None, None] * shape  # noqa: E731
    e = torch.ones(31, N, dtype=torch.float64)
    older = (5, curve(torch.tensor([5]))[0])
    estimate = interpolation_error(steps, curve(torch.tensor(steps)), older, e, eta)
    left = curve(at) - torch.einsum("sl,lij->sij", lagrange(steps, at), curve(torch.tensor(steps)))
    drift = eta * (left[:-1] @ e[0]).cumsum(0)
    assert estimate == pytest.approx(float((drift.norm(dim=1) / e[0].norm()).max()), rel=1e-6)


SMOOTH = ("tanh", "softplus", "sin", "cos", "gelu")


def begun(name, length=8, first=30, tol=1e-5, eta=0.5):
    """GD step by step, and the integrator at `first` of it."""
    path = trajectory(drawn(name, eta), first + length)
    last = last_states(path, [first - 12, first - 8, first - 4, first])
    return path, Integrator.after_steps(*last, 3, tol)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_window_is_gd_step_by_step(name):
    """E at every step to the tolerance; weights and equilibrium at its end."""
    path, integrator = begun(name)
    window = integrator.window(8, integrator.accuracy(1e-5, math.inf))
    stepwise = torch.stack([e for _, _, _, e in path[30:]])
    worst = (window.e - stepwise).norm(dim=1) / stepwise.norm(dim=1)
    assert float(worst.max()) < 1e-5
    assert deviation(window, 5) < 1e-5
    large = integrator.network.work.large
    integrator.accept(window)
    assert integrator.step == 38
    end, q, _, e = path[38]
    moved = (end.w - path[30][0].w).norm()
    assert float((integrator.network.w - end.w).norm() / moved) < 1e-4
    torch.testing.assert_close(integrator.now.q[0], q, rtol=0, atol=1e-4)
    torch.testing.assert_close(integrator.e, e, rtol=0, atol=1e-5 * float(e.norm()))
    assert integrator.network.work.large > large


def test_a_check_sees_a_wrong_window():
    _, integrator = begun("tanh")
    window = integrator.window(8, integrator.accuracy(1e-5, math.inf))
    window.e[6] *= 1 + 1e-3
    assert deviation(window, 5) == pytest.approx(1e-3, rel=0.05)


def test_a_window_that_is_too_long_or_too_dear_is_rejected():
    _, integrator = begun("tanh")
    weights = integrator.network.w.clone()
    with pytest.raises(RejectedError):
        integrator.window(3000, integrator.accuracy(1e-5, math.inf))
    with pytest.raises(RejectedError) as no:
        integrator.window(8, integrator.accuracy(1e-5, 1.0))
    assert no.value.error == math.inf
    assert torch.equal(integrator.network.w, weights)


def test_a_run_whose_windows_never_pay_is_a_quarter_dearer_at_most():
    control, step = Control(3, expected=40.0), 0
    while step < 5000:
        control.add_step(3.3)
        step += 1
        while control.due:
            cost = min(control.allowance, 60.0)
            control.add_rejected(step, control.steps(step, 10**6), math.inf, cost, 3.1)
        assert control.total <= (1 + DEARER) * control.stepwise
    assert control.total > 1.02 * control.stepwise  # windows were tried
