"""Mixed precision: its error is bounded, its results equal those of full precision.

On a CPU TF32 is emulated; the same functions run on a GPU where there is one.
"""

import math

import pytest
import torch
from small_trials import finished

from deq.activations.lookup import activation
from deq.config import ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import SphereConfig, load
from deq.linalg.hardware import allow_tf32
from deq.models.equilibrium import AdjointMap, EquilibriumMap
from deq.solvers.fixed_point import solve, take
from deq.solvers.mixed import UNIT, MixedMap, low_product, round_tf32
from deq.solvers.picard import Picard
from deq.solvers.progress import relative_residual
from deq.solvers.solution import Solved
from deq.training.gradient_descent import GradientDescent
from deq.training.lookahead import Lookahead

NAMES = ("tanh", "relu", "gelu")
# Below and above the columns that are rounded at once.
WIDTHS = (40, 300)
TOL = 1e-6
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
DEVICES = ("cpu", pytest.param("cuda", marks=[CUDA, pytest.mark.gpu]))


def maps(name, width, device="cpu", *, batch=2, n=9):
    """Maps of an equilibrium and an adjoint of a random pack, ||W||_2 about 0.8; and ||W||_2."""
    g = torch.Generator().manual_seed(width)
    w = torch.randn(batch, width, width, generator=g).to(device) * 0.4 / width**0.5
    p = torch.randn(batch, n, width, generator=g).to(device)
    a = torch.randn(batch, width, generator=g).to(device)
    phi = activation(name)
    norm = torch.linalg.matrix_norm(w.double(), 2)
    return (EquilibriumMap(phi, w, p), AdjointMap(w, a, phi.derivative(p))), norm, p


def exact(f, x):
    """f(x) in float64."""
    x, w = x.double(), f.w.double()
    if isinstance(f, EquilibriumMap):
        return torch.bmm(f.phi.function(x), w.mT) + f.p.double()
    return torch.bmm(f.mask.double() * x, w) + f.a[:, None].double()


def solved(f, start, tol=TOL):
    result = solve(
        f,
        start.clone(),
        (torch.empty_like(start), torch.empty_like(start)),
        tol=torch.full(start.shape[:1], tol, dtype=torch.float64, device=start.device),
        max_steps=200,
        step=Picard(),
    )
    return f.counted(result) if isinstance(f, MixedMap) else result


def test_tf32_keeps_ten_bits_of_mantissa():
    """To nearest, ties away from zero; the exponent's range is float32's."""
    x = torch.randn(4000, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.arange(
        -20, 20
    ).repeat_interleave(100)
    scale = 2.0 ** (torch.frexp(x.double()).exponent - 11)
    nearest = (x.double() / scale).round() * scale  # ties are not among random numbers
    assert torch.equal(round_tf32(x).double(), nearest)
    tie = torch.tensor([1 + 2.0**-11, -1 - 2.0**-11, 0.0, torch.inf])
    assert round_tf32(tie).tolist() == [1 + 2.0**-10, -1 - 2.0**-10, 0.0, math.inf]
    assert bool(round_tf32(torch.tensor([torch.nan])).isnan())


@pytest.mark.parametrize("device", DEVICES)
def test_a_low_product_has_the_error_of_tf32(device):
    """The error is above float32's rounding and at most TF32's; sums are float32."""
    g = torch.Generator().manual_seed(1)
    z, w = torch.randn(2, 64, 300, generator=g), torch.randn(2, 300, 300, generator=g)
    base = 1e4 * torch.randn(2, 64, 300, generator=g)
    z, w, base = z.to(device), w.to(device), base.to(device)
    low = low_product(torch.zeros_like(base), z, w, torch.empty_like(base)).double()
    miss = torch.linalg.vector_norm(low - torch.bmm(z.double(), w.double()), dim=-1)
    most = torch.linalg.matrix_norm(w.double(), 2)[:, None] * torch.linalg.vector_norm(z, dim=-1)
    assert bool((miss > 1e-5 * most).all())
    assert bool((miss < UNIT / 4 * most).all())
    summed = low_product(base, z, w, torch.empty_like(base)).double()
    torch.testing.assert_close(summed, base.double() + low, rtol=2.0**-22, atol=2e-5)
    if device == "cpu":  # the emulation's very numbers
        rounded = torch.bmm(round_tf32(z).double(), round_tf32(w).double())
        torch.testing.assert_close(low, rounded, rtol=0, atol=1e-4)


def test_tf32_is_allowed_only_within_the_context():
    torch.set_float32_matmul_precision("highest")

    def broken_off():
        with allow_tf32():
            assert torch.get_float32_matmul_precision() == "high"
            raise KeyError

    with pytest.raises(KeyError):
        broken_off()
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_the_error_is_bounded(name, width, device):
    """Nine maps from a cold start, none of them renewed, against float64: within the bound.

    And the bound says something: the error is at least a hundredth of it.
    """
    both, norm, start = maps(name, width, device)
    for f in both:
        mixed, x, image = MixedMap(f, norm, start.shape[1]), start.clone(), start.clone()
        for k in range(10):
            mixed(x, image)
            true = exact(f, x)
            size = torch.linalg.vector_norm(true, dim=-1)
            error = torch.linalg.vector_norm(image.double() - true, dim=-1) / size
            assert bool((error <= mixed.error + 3e-7).all()), k
            x, image = image, x
        assert bool((error > 1e-2 * mixed.error).all())
        assert float(mixed.error.min()) > 3e-6


def test_the_bound_is_nearly_met_where_all_roundings_agree():
    """W and z of one number each, which TF32 rounds by all but 2^-11: 2^-10 ||W|| ||z||.

    Beside it, in the same pack, W = 0, of which nothing is missed.
    """
    number, m = 1 + 2.0**-11 - 2.0**-23, 32
    w = torch.stack([torch.zeros(m, m), torch.full((m, m), number / m)])
    f = AdjointMap(w, torch.zeros(2, m), torch.ones(2, 3, m))
    mixed = MixedMap(f, torch.tensor([0.0, number], dtype=torch.float64), 3)
    start = torch.full((2, 3, m), -number)
    zero = mixed(start, torch.empty_like(start)).zero_()  # the image that the next one is added to
    error = mixed(zero, torch.empty_like(start))[1].double() - number**2
    share = torch.linalg.vector_norm(error, dim=-1) / mixed.bound[1]
    assert 0.45 < float(share.min()) <= float(share.max()) <= 1
    assert not bool(mixed.bound[0].any())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_solutions_are_as_accurate_as_in_full_precision(name, width, device):
    """From a cold start, whose increments are too large for one full product to do.

    The true residual of what is returned, in float64, meets the tolerance; so does the true
    residual of the iterate before it, as in full precision.
    """
    both, norm, start = maps(name, width, device)
    for f in both:
        mixed = Recorded(f, norm, start.shape[1])
        result, full = solved(mixed, start), solved(f, start)
        assert result.solved == [Solved.CONVERGED] * 2
        assert max(result.residual) <= TOL
        x = result.value
        assert float(relative_residual(exact(f, x) - x.double(), x).max()) <= TOL
        assert max(mixed.hidden) <= TOL + 2e-7  # and float32's own rounding
        assert float(relative_residual(x - full.value, x).max()) <= 3 * TOL
        low, products = torch.tensor(result.low), torch.tensor(result.products)
        assert bool((low > 0.6 * products).all())
        assert bool((products - low >= 2).all())
        assert bool((products <= torch.tensor(full.products) + 2).all())
        assert all(math.isnan(v) for v in full.low)


class Recorded(MixedMap):
    """Records the worst true residual of accepted samples."""

    hidden: list[float]

    def __call__(self, x, out):
        self.hidden = getattr(self, "hidden", [])
        before = x.clone()
        super().__call__(x, out)
        values = relative_residual(out - before, out) + self.error
        true = relative_residual(exact(self.f, before) - before.double(), out)
        self.hidden += true[values <= TOL].tolist()
        return out


def low_images(f, norm, start, count):
    """A map after `count` images, all but the first by low products; the last image."""
    mixed, x, image = MixedMap(f, norm, start.shape[1]), start.clone(), start.clone()
    for _ in range(count):
        mixed(x, image)
        x, image = image, x
    return mixed, x


@pytest.mark.parametrize("device", DEVICES)
def test_only_samples_that_need_it_take_a_full_product(device):
    """Bit for bit: two samples of one trial and one of another in one call."""
    (f, _), norm, start = maps("tanh", 60, device)
    renewed, x = low_images(f, norm, start, 3)
    plain, _ = low_images(f, norm, start, 3)
    live = torch.ones(2, 9, dtype=torch.bool, device=device)
    live[0, 5] = False  # it would need one, but has ended
    due = torch.zeros_like(live)
    due[0, 1] = due[0, 4] = due[1, 2] = True
    residual = renewed.error / torch.where(due, 0.51, 0.49)
    residual[0, 5] = 0.0
    renewed.refresh(live, residual)
    image, other = renewed(x, torch.empty_like(x)), plain(x, torch.empty_like(x))
    assert torch.equal(image[~due], other[~due])
    assert torch.equal(renewed.error[~due], plain.error[~due])
    assert not bool(renewed.error[due].any())
    full = f(x, torch.empty_like(x))
    torch.testing.assert_close(image[due], full[due], rtol=0, atol=2e-6)
    assert float((other[due] - full[due]).abs().amax(-1).min()) > 5e-6
    assert torch.equal(renewed.more, due.double())


def test_dropping_samples_does_not_change_the_others():
    """Up to rounding of the products."""
    for f, norm, start in ((f, n, p) for both, n, p in [maps("tanh", 60)] for f in both):
        mixed, x = low_images(f, norm, start, 3)
        rows = torch.tensor([[7, 0, 3], [1, 2, 8]])
        part = mixed.at(rows)
        few = part(take(x, rows), torch.empty(2, 3, 60))
        whole = mixed(x, torch.empty_like(x))
        torch.testing.assert_close(few, take(whole, rows), rtol=0, atol=2e-6)
        torch.testing.assert_close(part.error, mixed.error.gather(1, rows), rtol=1e-4, atol=0)


@pytest.mark.parametrize("worth", [2**23, 0])
def test_every_sample_takes_its_own_full_products(worth, monkeypatch):
    """A sample that starts far away takes more of them; the others do not."""
    monkeypatch.setattr("deq.solvers.progress.WORTH", worth)
    (f, _), norm, start = maps("tanh", 60, batch=2, n=6)
    near = solved(f, start).value * (1 + 1e-4 * torch.sin(torch.arange(60.0)))
    near[1, 2] = 0.0
    together = MixedMap(f, norm, 6)
    result = solved(together, near)
    expected = torch.zeros(2, 6, dtype=torch.float64)
    expected[1, 2] = float(together.more[1, 2])
    assert float(expected.sum()) >= 1
    assert torch.equal(together.more, expected)
    rows = torch.tensor([[0], [2]])
    alone = MixedMap(f.at(rows), norm, 1)
    other = solved(alone, take(near, rows))
    assert torch.equal(alone.more[:, 0], together.more[[0, 1], [0, 2]])
    torch.testing.assert_close(take(result.value, rows), other.value, rtol=0, atol=1e-5)
    assert (
        float(relative_residual(exact(f, result.value) - result.value, result.value).max()) <= TOL
    )


def trial(name, precision="mixed", *, seed=0, steps=60, width=200, eta=0.5, tol=TOL):
    return TrialConfig(
        data=SphereConfig(n=24, d=16),
        model=ModelConfig(width=width, activation=name),
        train=TrainConfig(steps=steps, eta=eta, loss_tol=0.0),
        solver=SolverConfig(tol=tol, precision=precision),
        seed=seed,
        dtype="float32",
    )


def trained(*configs, device="cpu"):
    descent = finished(GradientDescent(configs, [load(config.data) for config in configs], device))
    return [
        {key: torch.tensor([row[key] for row in run.rows]) for key in run.rows[0]}
        for run in descent.runs
    ]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "most"), [("tanh", 3.3), ("gelu", 3.3), ("relu", 3.6)])
def test_losses_agree_with_full_precision(name, most, device):
    """Losses within 1e-4, by less than `most` full products a step; measured 3.18 to 3.42."""
    (mixed,) = trained(trial(name), device=device)
    (full,) = trained(trial(name, "full"), device=device)
    torch.testing.assert_close(mixed["loss"], full["loss"], rtol=1e-4, atol=0)
    assert float(full["loss"][-1]) < 0.6 * float(full["loss"][0])
    for key in ("residual", "adjoint_residual"):
        assert float(mixed[key].max()) <= TOL
    check = mixed["grad_check"]
    assert float(check.nan_to_num().max()) < 1e-5
    low = mixed["forward_low"] + mixed["adjoint_low"]
    assert 3 <= float((mixed["products"] - low).mean()) < most
    assert float(low.mean()) > 0.5
    assert float(mixed["products"].mean()) < 1.05 * float(full["products"].mean())
    assert bool(full["forward_low"].isnan().all())


def test_lookahead_gives_the_same_steps(monkeypatch):
    """As on a GPU; no lookahead right after a sample took a second full product."""
    (watched,) = trained(trial("tanh"))
    asked = []
    enqueue = Lookahead.enqueue
    monkeypatch.setattr("deq.training.lookahead.worthwhile", lambda pack: True)
    monkeypatch.setattr(Lookahead, "enqueue", lambda *args: asked.append(args) or enqueue(*args))
    (guessed,) = trained(trial("tanh"))
    torch.testing.assert_close(guessed["loss"], watched["loss"], rtol=1e-4, atol=0)
    for key in ("forward_low", "adjoint_low"):
        torch.testing.assert_close(guessed[key], watched[key], rtol=0.1, atol=0.5)
    full = watched["products"] - watched["forward_low"] - watched["adjoint_low"]
    renewed = full > 3 + 1e-3
    assert int(renewed.sum()) > 5
    allowed = ~renewed[:-2] & ~renewed[1:-1]  # of the two steps before
    assert 20 < len(asked) <= int(allowed.sum())


def test_a_packed_trial_equals_the_trial_alone():
    configs = [trial("relu", seed=seed, steps=steps) for seed, steps in ((0, 20), (1, 10), (2, 25))]
    for config, packed in zip(configs, trained(*configs), strict=True):
        (alone,) = trained(config)
        torch.testing.assert_close(packed["loss"], alone["loss"], rtol=1e-4, atol=0)
        torch.testing.assert_close(packed["forward_low"], alone["forward_low"], rtol=0.1, atol=0.5)


def test_the_float64_finish_is_in_full_precision():
    config = trial("tanh", steps=200, width=100, eta=0.9, tol=1e-4)
    solver = SolverConfig(tol=1e-4, precision="mixed", finish="float64")
    (result,) = trained(TrialConfig(**vars(config) | {"solver": solver}))
    wide = result["rounding"] < 1e-10
    assert 0 < int(wide.sum()) < len(wide)
    assert torch.equal(result["forward_low"].isnan(), wide)


def test_the_norm_is_bounded_between_its_measurements():
    """An upper bound at every step, at most six times the norm near GD's stability limit."""
    config = trial("tanh", eta=0.98, steps=45)
    descent = GradientDescent([config], [load(config.data)])
    above = []
    for _ in descent:
        for group in descent.groups:
            true = torch.linalg.matrix_norm(group.pack.w.double(), 2)
            above.append(float(group.pack.norm_w / true))
    assert min(above) > 1 - 1e-6
    assert max(above) < 6
    assert max(above[::10]) < min(2, max(above[9::10]))  # one step after a measurement, or ten


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: SolverConfig(name="anderson", precision="mixed"), "name=picard only"),
        (lambda: TrialConfig(solver=SolverConfig(precision="mixed")), "dtype=float32 only"),
    ],
)
def test_unsupported_uses_of_mixed_precision_are_refused(make, match):
    with pytest.raises(ValueError, match=match) as error:
        make()
    assert "\n" not in str(error.value)
