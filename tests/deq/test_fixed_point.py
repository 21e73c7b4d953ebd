"""The loop, its stopping rule, and checks that every solver must pass."""

import pytest
import torch

from deq.activations.lookup import activation
from deq.models.equilibrium import AdjointMap, EquilibriumMap
from deq.solvers.by_name import SOLVERS
from deq.solvers.fixed_count import solve_fixed_count
from deq.solvers.fixed_point import Map, solve, take
from deq.solvers.solution import Solved

NAMES = ("relu", "tanh")


class Linear(Map):
    """x -> factor x + 1, one factor for each sample; the fixed point is 1 / (1 - factor)."""

    def __init__(self, factors):
        self.factors = torch.as_tensor(factors, dtype=torch.float64)[..., None]

    def __call__(self, x, out):
        return torch.add(self.factors * x, 1, out=out)

    def at(self, rows):
        return Linear(take(self.factors, rows)[..., 0])

    def slope(self, x):
        return lambda v: self.factors * v


class Noisy(Map):
    """A map with noise: the residual ends at 1e-6."""

    def __call__(self, x, out):
        return out.copy_(1 + 1e-6 * torch.sign(1 - x))


def solved(f, start, *, tol=1e-10, max_steps=1000, name="picard"):
    return solve(
        f,
        start.clone(),
        (torch.empty_like(start), torch.empty_like(start)),
        tol=torch.full(start.shape[:1], tol, dtype=torch.float64),
        max_steps=max_steps,
        step=SOLVERS[name](),
    )


def network(name, *, batch=2, n=7, m=30, scale=0.4, seed=0):
    """W with ||W||_2 about 2 scale, P, a."""
    g = torch.Generator().manual_seed(seed)
    w = torch.randn(batch, m, m, dtype=torch.float64, generator=g) * scale / m**0.5
    p = torch.randn(batch, n, m, dtype=torch.float64, generator=g)
    a = torch.randn(batch, m, dtype=torch.float64, generator=g)
    return activation(name), w, p, a


def test_a_sample_stops_independently_of_its_pack():
    start = torch.zeros(2, 2, 3, dtype=torch.float64)
    both = solved(Linear([[0.1, 0.5], [0.9, 0.2]]), start)
    alone = solved(Linear([[0.1, 0.5]]), start[:1])
    assert both.solved == [Solved.CONVERGED, Solved.CONVERGED]
    assert both.products[0] == alone.products[0] < both.products[1]
    assert torch.equal(both.value[0], alone.value[0])
    exact = torch.tensor([[1 / 0.9, 2.0], [10.0, 1.25]], dtype=torch.float64)
    torch.testing.assert_close(both.value[..., 0], exact, rtol=1e-8, atol=0)


def test_dropping_samples_from_the_products_changes_nothing(monkeypatch):
    """Equal values and counts, and less work."""
    factors = torch.linspace(0.05, 0.95, 20, dtype=torch.float64).expand(3, 20)
    factors = factors * torch.tensor([1.0, 0.5, 0.9])[:, None]
    start = torch.zeros(3, 20, 4, dtype=torch.float64)
    full = solved(Linear(factors), start)
    monkeypatch.setattr("deq.solvers.progress.WORTH", 0)
    dropped = solved(Linear(factors), start)
    assert torch.equal(full.value, dropped.value)
    assert full.products == dropped.products
    assert full.residual == dropped.residual
    assert max(full.products) <= dropped.work < 0.5 * full.work


def test_products_and_residuals_are_counted_by_sample():
    result = solved(Linear([[0.0, 0.5]]), torch.ones(1, 2, 1).double(), tol=0.1)
    # sample 0: at once; sample 1: residuals 1/3, 1/7, 1/15.
    assert result.products == [(1 + 3) / 2]
    assert result.work == 3.0
    assert result.predicted == [pytest.approx(1 / 3)]
    assert result.residual == [pytest.approx(1 / 15)]


class Doubtful(Linear):
    """States an error of 0.05 for its images, and records the arguments of `refresh`."""

    error = torch.tensor([[0.05, 0.05]], dtype=torch.float64)
    calls = ()

    def refresh(self, live, residual):
        self.calls = (*self.calls, (live.tolist(), residual.tolist()))


def test_the_error_of_a_map_counts_as_residual():
    """As above, but 1/15 + 0.05 exceeds 0.1, so it takes one more map."""
    f = Doubtful([[0.0, 0.5]])
    result = solved(f, torch.ones(1, 2, 1).double(), tol=0.1)
    assert result.products == [(1 + 4) / 2]
    assert result.residual == [pytest.approx(1 / 31 + 0.05)]
    assert [live for live, _ in f.calls] == [[[False, True]]] * 3
    assert f.calls[-1][1] == [[pytest.approx(0.05), pytest.approx(1 / 15 + 0.05)]]
    assert solved(f, torch.ones(1, 2, 1).double(), tol=0.04).solved == [Solved.MAX_STEPS]
    for maps, left in ((3, 1), (4, 0)):  # and without reads
        buffers = [torch.ones(1, 2, 1).double() for _ in range(3)]
        tol = torch.tensor([0.1], dtype=torch.float64)
        unseen = solve_fixed_count(f, buffers[0], (buffers[1], buffers[2]), tol=tol, maps=maps)
        assert unseen.figures[0].tolist() == [left]


def test_an_unsolved_fixed_point_reports_its_reason():
    start = torch.zeros(1, 3, 2, dtype=torch.float64)
    slow = Linear([[0.5, 0.99, 0.5]])
    assert solved(slow, start, max_steps=10).solved == [Solved.MAX_STEPS]
    assert solved(Linear([[1e80] * 3]), start, max_steps=50).solved == [Solved.NONFINITE]
    result = solved(Noisy(), torch.tensor([[[1.0], [-1.0]]]), tol=1e-9)
    assert result.solved == [Solved.STAGNATED]
    assert result.products[0] < 40


@pytest.mark.parametrize("name", NAMES)
def test_maps_and_slopes_agree_with_plain_formulas(name):
    """Compared with plain formulas; slopes with finite differences (1e-7)."""
    phi, w, p, a = network(name)
    x, v = torch.randn_like(p), torch.randn_like(p)
    rows = torch.tensor([[3, 1], [0, 6]])
    mask = phi.derivative(x)
    forward, adjoint = EquilibriumMap(phi, w, p), AdjointMap(w, a, mask)
    out = torch.empty_like(p)
    plain = torch.einsum("bij,bnj->bni", w, phi.function(x)) + p
    torch.testing.assert_close(forward(x, out), plain)
    torch.testing.assert_close(
        forward.at(rows)(take(x, rows), torch.empty(2, 2, 30).double()), take(plain, rows)
    )
    plain = a[:, None] + torch.einsum("bji,bnj->bni", w, mask * v)
    torch.testing.assert_close(adjoint(v, out), plain)
    torch.testing.assert_close(
        adjoint.at(rows)(take(v, rows), torch.empty(2, 2, 30).double()), take(plain, rows)
    )
    h = 1e-7
    for f in (forward, adjoint):
        base, moved = f(x, torch.empty_like(x)), f(x + h * v, torch.empty_like(x))
        torch.testing.assert_close(f.slope(x)(v), (moved - base) / h, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NAMES)
class TestEverySolver:
    """Equilibria and adjoints of random networks, ||W||_2 about 0.8."""

    def maps(self, name, dtype, **size):
        phi, w, p, a = network(name, **size)
        w, p, a = w.to(dtype), p.to(dtype), a.to(dtype)
        forward = EquilibriumMap(phi, w, p)
        return forward, AdjointMap(w, a, phi.derivative(p)), p

    def test_reaches_the_fixed_point(self, solver, dtype, name):
        """To the stated residual, and the same point as a long plain iteration."""
        tol = 1e-11 if dtype is torch.float64 else 1e-5
        *maps, start = self.maps(name, dtype)
        for f in maps:
            result = solved(f, start, tol=tol, name=solver)
            assert result.solved == [Solved.CONVERGED] * 2
            assert max(result.residual) <= tol
            plain = start
            for _ in range(300):
                plain = f(plain, torch.empty_like(plain))
            torch.testing.assert_close(result.value, plain, rtol=20 * tol, atol=20 * tol)

    def test_a_good_start_saves_products(self, solver, dtype, name):
        f, _, start = self.maps(name, dtype)
        tol = 1e-11 if dtype is torch.float64 else 1e-5
        cold = solved(f, start, tol=tol, name=solver)
        near = cold.value * (1 + 1e-3 * torch.sin(torch.arange(30).to(dtype)))
        warm = solved(f, near, tol=tol, name=solver)
        at_once = solved(f, cold.value, tol=tol, name=solver)
        assert max(warm.products) < max(cold.products)
        assert at_once.products == [1.0, 1.0]

    def test_a_trial_does_not_depend_on_its_pack(self, solver, dtype, name, monkeypatch):
        """Nor on whether samples that have ended are dropped; to rounding."""
        f, _, start = self.maps(name, dtype, batch=3)
        tol = 1e-11 if dtype is torch.float64 else 1e-5
        near = start.clone()
        near[:, ::2] = solved(f, start, tol=tol).value[:, ::2]  # half end at once
        together = solved(f, near, tol=tol, name=solver)
        monkeypatch.setattr("deq.solvers.progress.WORTH", 0)
        for b in range(3):
            alone_f = EquilibriumMap(f.phi, f.w[b : b + 1], f.p[b : b + 1])
            alone = solved(alone_f, near[b : b + 1], tol=tol, name=solver)
            eps = 1e3 * torch.finfo(dtype).eps
            torch.testing.assert_close(together.value[b], alone.value[0], rtol=eps, atol=eps)
            assert abs(together.products[b] - alone.products[0]) <= 1


@pytest.mark.parametrize("solver", ["anderson", "broyden", "newton_krylov"])
def test_other_solvers_reach_a_fixed_point_where_picard_oscillates(solver):
    """W = -1.8 I: one equilibrium for each sample, around which Picard oscillates."""
    phi, _, p, _ = network("tanh")
    w = -1.8 * torch.eye(30, dtype=torch.float64).expand(2, 30, 30)
    f = EquilibriumMap(phi, w, p)
    assert solved(f, p, name="picard").solved == [Solved.MAX_STEPS] * 2
    result = solved(f, p, name=solver)
    assert result.solved == [Solved.CONVERGED] * 2
    torch.testing.assert_close(result.value + 1.8 * torch.tanh(result.value), p)


@pytest.mark.parametrize("scale", [1.0, 1.6])
def test_newton_krylov_converges_where_picard_does_not(scale):
    """Gaussian W of norm 2 and 3.2; Picard converges on the first only."""
    phi, w, p, _ = network("tanh", n=5, m=60, scale=scale)
    f = EquilibriumMap(phi, w, p)
    result = solved(f, p, max_steps=200, name="newton_krylov")
    assert result.solved == [Solved.CONVERGED] * 2
    picard = solved(f, p, max_steps=200)
    assert (picard.solved == [Solved.CONVERGED] * 2) == (scale < 1.3)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_sample_that_starts_far_away_does_not_cost_full_maps(batch):
    """At a laptop's width too: after the first map, maps take that sample alone."""
    phi, w, p, _ = network("tanh", batch=batch, n=40, m=128)
    f = EquilibriumMap(phi, w, p)
    near = solved(f, p, tol=1e-12).value
    near[-1, 7] = p[-1, 7]
    result = solved(f, near, tol=1e-8)
    assert result.solved == [Solved.CONVERGED] * batch
    assert result.products[:-1] == [1.0] * (batch - 1)
    assert result.products[-1] == 1 + (result.maps - 1) / 40
    assert result.work == pytest.approx(1 + (result.maps - 1) / 40)
    assert result.maps > 5
    torch.testing.assert_close(result.value, solved(f, p, tol=1e-12).value, rtol=1e-7, atol=1e-7)
