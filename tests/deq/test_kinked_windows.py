"""Windows of a kinked activation: the mathematics, without training around it."""

import contextlib
import dataclasses
import math

import pytest
import torch
from test_windows import M, N, drawn, fixed_point, last_states, normal, trajectory

from deq.training.windows.check import deviation
from deq.training.windows.kinked_integrator import KinkedIntegrator
from deq.training.windows.low_rank import (
    Jumps,
    Terms,
    Work,
    adjoints,
    apply,
    no_terms,
    output_weights,
    preactivations,
)
from deq.training.windows.monitored import Monitored
from deq.training.windows.nodes import inner_products
from deq.training.windows.undecided import undecided, weights
from deq.training.windows.window import RejectedError

KINKED = ("relu", "leaky_relu")


def begun(name, first=30, length=5, seed=0, tol=1e-4):
    """GD step by step, and the integrator at `first` of it."""
    steps = trajectory(drawn(name, seed=seed), first + length)
    last = last_states(steps, [first - 6, first - 4, first - 2, first])
    return steps, KinkedIntegrator.after_steps(*last, 2, tol)


@pytest.mark.parametrize("name", KINKED)
def test_responses_give_the_adjoint_of_other_slopes(name):
    network = drawn(name)
    q, v = fixed_point(network)
    mask, other = network.phi.derivative(q), network.phi.derivative(q)
    sample, unit = torch.tensor([0, 0, 3]), torch.tensor([5, 11, 7])
    low, high = network.phi.derivative(torch.tensor([-1.0, 1.0])).tolist()
    other[sample, unit] = torch.where(other[sample, unit] == high, low, high).double()
    monitored = Monitored(network, mask)
    monitored.add(sample, unit)
    monitored.add(sample[:1], unit[:1])  # known already
    assert len(monitored) == 3
    nu = monitored.nu(monitored.at(other), monitored.at(v))
    turned = v
    for _ in range(200):
        turned = (other * turned) @ network.w + network.a
    by_responses = monitored.added(v[None], nu[None], monitored.r)[0]
    assert float((turned - v).norm()) > 1e-2
    torch.testing.assert_close(by_responses, turned, rtol=0, atol=2e-3 * float((turned - v).norm()))
    r = monitored.added((mask * v)[None], nu[None], monitored.g)[0]
    torch.testing.assert_close(r, other * turned, rtol=0, atol=4e-3 * float((turned - v).norm()))


def test_maps_with_jumps_are_those_of_the_weights_formed():
    network = drawn("relu")
    sample = torch.tensor([1, 1, 4, 0])
    jumps = Jumps(normal(4, M, seed=5), sample, normal(1, 2, 4, seed=6), normal(1, 4, seed=7))
    c, b = normal(1, 2, 2, N, seed=4), normal(1, 2, N, seed=5)
    terms = Terms(normal(2, N, M), normal(2, N, M, seed=1), c, b, jumps)
    formed = dataclasses.replace(
        network, w=network.w.clone(), p=network.p.clone(), a=network.a.clone()
    )
    apply(formed, terms)
    right = sum(jumps.c[0, k][:, None] * terms.z[k][sample] for k in range(2))
    plain = dataclasses.replace(
        network, w=network.w.clone(), p=network.p.clone(), a=network.a.clone()
    )
    apply(plain, dataclasses.replace(terms, jumps=None))
    torch.testing.assert_close(plain.w - formed.w, network.eta * jumps.g.mT @ right)
    z, r = normal(1, N, M, seed=8), normal(1, N, M, seed=9)
    zz, rr = (
        inner_products(x[0], nodes, Work())[:, None] for x, nodes in ((z, terms.z), (r, terms.r))
    )
    a = output_weights(network, terms)
    q = preactivations(network, terms, z, zz)
    torch.testing.assert_close(q[0], z[0] @ formed.w.mT + formed.p)
    v = adjoints(network, terms, r, rr, a, jumps.inner(r, Work()))
    torch.testing.assert_close(v[0], r[0] @ formed.w + formed.a)
    assert no_terms(network).jumps is None


@pytest.mark.parametrize("name", KINKED)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_window_with_changes_of_sign_is_gd_step_by_step(name, seed):
    steps, integrator = begun(name, seed=seed)
    window = integrator.window(5, integrator.accuracy(1e-4, math.inf))
    stepwise = torch.stack([e for _, _, _, e in steps[30:]])
    worst = (window.e - stepwise).norm(dim=1) / stepwise.norm(dim=1)
    assert float(worst.max()) < 2e-4
    for k, (_, q, _, _) in enumerate(steps[30:]):
        away_from_zero = window.monitored.at(q).abs() > 1e-4
        signs = (window.q[k] > 0) == (window.monitored.at(q) > 0)
        assert bool(signs[away_from_zero].all())
    assert deviation(window, 3) < 1e-4
    integrator.accept(window)
    end, q, _v, e = steps[35]
    moved = (end.w - steps[30][0].w).norm()
    assert float((integrator.network.w - end.w).norm() / moved) < 3e-3
    torch.testing.assert_close(integrator.e, e, rtol=0, atol=2e-4 * float(e.norm()))


def flipping():
    """A window in which an entry changes its sign, of some seed."""
    for seed in range(30):
        _, integrator = begun("relu", first=10, length=0, seed=seed)
        with contextlib.suppress(RejectedError):
            window = integrator.window(20, integrator.accuracy(1e-2, math.inf))
            crossed = (window.flips() == 1) & (window.q[-1].abs() > 1e-2)
            if crossed.any():
                return window, int(crossed.nonzero()[0])
    raise AssertionError("no window in which an entry changes its sign")


def test_spectra_inside_a_window_count_the_changes_of_sign():
    window, _ = flipping()
    place = len(window.e) - 1
    g, b = window.grams([place])
    q, v = window.state(place)
    z, r = window.network.phi.function(q), window.slopes(place)(q, q) * v
    torch.testing.assert_close(b[0], r @ r.mT, rtol=0, atol=1e-3 * float(b.norm()))
    torch.testing.assert_close(g[0], z @ z.mT, rtol=0, atol=1e-3 * float(g.norm()))


def test_an_entry_whose_side_hangs_on_its_uncertainty_is_undecided(monkeypatch):
    window, crossed = flipping()
    assert undecided(window).count == 0
    shift = torch.zeros(len(window.monitored))
    shift[crossed] = 2 * float(window.q[:, crossed].abs().max())
    monkeypatch.setattr(window, "uncertainty", shift.double)
    counts = undecided(window)
    assert counts.count >= 1
    assert counts.weighty == int(weights(window)[crossed] > 1e-3) >= 0


def test_the_weight_of_an_entry_is_its_change_of_the_rate():
    window, k = flipping()
    e, last = window.e[-1], len(window.e) - 1
    kernel = window.model.kernels[-1]

    def rate():
        g, b = window.grams([last])
        return float(e @ (g[0] + b[0] * kernel) @ e)

    before, nu = rate(), window.nu.clone()
    window.nu[-1] = nu[-1] * 0
    base = rate()
    window.nu[-1, k] = (window.high - window.low) * window.model.v0[-1, k]
    changed = rate() - base
    window.nu[-1] = nu[-1]
    assert float(weights(window)[k]) * before == pytest.approx(abs(changed), rel=1e-2)
