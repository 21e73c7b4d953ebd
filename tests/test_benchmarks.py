"""The benchmark commands at tiny sizes: they run and check their results."""

import json
import subprocess
import sys

import pytest
import torch

from benchmarks import compiled, device, packing, scale, small, windows
from benchmarks.engine import Case, measure
from benchmarks.peer import CONTESTANTS, Peer, Weights, exact_gradient
from benchmarks.timing import Spread
from deq.activations.lookup import activation

pytestmark = pytest.mark.slow


def weights(m=20, n=6, d=5):
    g = torch.Generator().manual_seed(0)
    w = torch.randn(m, m, generator=g) * (0.16 / m) ** 0.5
    p, a = torch.randn(n, m, generator=g), torch.randn(m, generator=g) / m**0.5
    return Weights(w, p, a, torch.randn(n, d, generator=g), torch.randn(n, generator=g))


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_the_reference_gradient_agrees_with_autograd(name):
    at, phi = weights(), activation(name)
    w = at.w.double().requires_grad_()
    z = torch.zeros(6, 20, dtype=torch.float64)
    for _ in range(100):
        z = phi.function(z @ w.mT + at.p.double())
    (0.5 * ((z @ at.a.double() - at.y.double()) ** 2).sum()).backward()
    torch.testing.assert_close(exact_gradient(at, phi), w.grad)


@pytest.mark.parametrize("name", CONTESTANTS)
def test_the_peer_takes_the_same_gradient(name):
    pytest.importorskip("torchdeq")
    solver, warm = CONTESTANTS[name]
    phi = activation("tanh")
    peer = Peer(solver, warm=warm, tol=1e-6, phi=phi)
    gradient = peer.gradient(weights())[0].double()
    torch.testing.assert_close(gradient, exact_gradient(weights(), phi), rtol=1e-2, atol=1e-4)


def test_the_engine_is_measured_and_checked():
    pytest.importorskip("torchdeq")
    lines = dict(measure(Case("relu", width=32, samples=8, data="digits", steps=40, points=2)))
    assert 3 <= lines["products per step, whole run"] < 30
    assert lines["gradient error against float64, worst"] < 1e-3
    assert lines["TorchDEQ Picard, warm: gradient error, worst"] < 1e-3
    assert isinstance(lines["TorchDEQ Anderson, cold: times the engine's cost"], Spread)


def test_a_step_of_a_small_pack_is_measured_over_its_products():
    case = small.Case("tanh", 16, "float64", pack=2, goal=2.5)
    lines = dict(small.measure(case, samples=8, steps=80))
    assert 3.5 <= lines["its products, thin ones included"] < 30  # thin: 8 / 16
    assert lines[small.RATIO].median > 1
    with small.Operations() as operations:
        torch.ones(3).add_(1)
    assert operations.count == 2


def test_mixed_precision_is_counted_and_checked():
    case = Case("relu", width=64, samples=8, steps=40, points=2, precision="mixed", contestants=())
    lines = dict(measure(case))
    full = lines["products per step, whole run"] - lines["of these in low precision, whole run"]
    assert 3 <= full < 4
    assert lines["gradient error against float64, worst"] < 1e-3


def test_packing_is_measured_and_checked():
    configs = packing.trials("relu", width=16, samples=6, steps=4, pack=3)
    lines = dict(packing.measure(configs, "cpu", repeats=2))
    assert lines["losses differ by, relative"] < 1e-12
    assert lines["packed over one after the other"].median > 0


def test_the_parts_of_the_device_benchmark_run():
    pytest.importorskip("torchdeq")
    lines = dict(device.training("tanh", (24, 6, 5), "cpu", steps=3))
    assert lines["products per step"] >= 3
    mixed = dict(device.training("tanh", (24, 6, 5), "cpu", steps=3, precision="mixed"))
    full = mixed["products per step"] - mixed["of these in low precision"]
    assert 3 <= full < 0.7 * lines["products per step"]
    assert mixed["loss, last over first"] == pytest.approx(lines["loss, last over first"], rel=1e-4)
    assert device.rate(16, 4, "cpu", repeats=2) > 0
    compared = dict(device.variants("tanh", 16, "cpu", steps=3, repeats=1))
    assert compared.keys() == {
        "one GD step, ms",
        "without CUDA graphs: times that",
        "without lookahead: times that",
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_the_device_benchmark_refuses_in_one_line_without_a_gpu():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.device"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert "no CUDA device" in done.stderr


def test_windows_are_measured_against_single_steps():
    lines = dict(windows.measure(windows.Case("tanh", steps=300, width=64, samples=12)))
    assert lines["products"] < lines["products of single steps, to --reference"]
    assert lines["greatest relative error of the loss"] < 1e-5  # single steps are to 1e-6
    assert lines[windows.SHARE] == pytest.approx(lines["products"] / 900)


def test_json_output_is_one_object_per_line():
    command = [sys.executable, "-m", "benchmarks.packing", "--json", "--activation", "tanh"]
    sizes = ["--width", "8", "--samples", "4", "--pack", "2", "--steps", "2", "--repeats", "1"]
    done = subprocess.run([*command, *sizes], capture_output=True, text=True, check=True)
    (line,) = done.stdout.strip().splitlines()
    assert any(name.startswith("packed over one after") for name in json.loads(line))


def test_rates_and_costs_use_the_samples_between_first_and_last_sent():
    samples = [
        scale.Sample(at, cpu, 2 * cpu, 100.0, sent)
        for at, cpu, sent in [(0, 5.0, 0), (10, 6.0, 2), (11, 6.5, 4), (14, 8.0, 10), (90, 9.0, 10)]
    ]
    assert scale.rate(samples) == 8 / 4  # not the start-up, not what follows
    assert scale.cpu_each(samples, 3, 10) == 1e3 * 1.5 / 6
    assert scale.all_cpu_each(samples, 3, 10) == 2e3 * 1.5 / 6


@pytest.mark.services
def test_a_sweep_on_a_simulated_cluster_is_measured():
    lines = dict(scale.cluster(scale.Case(trials=3, steps=3, nodes=1)))
    assert lines["rows of a trial in MLflow's database"] > 100
    assert 50 < lines["driver memory at 3 trials, MB"] < 2000


def test_a_sweep_is_sampled_and_the_peer_trains_the_same_trials(tmp_path):
    case = scale.Case(steps=3)
    samples = scale.sampled(tmp_path, [*case.overrides(6), "cluster=inline"])
    assert samples[-1].sent == 6
    assert 50 < max(sample.memory for sample in samples) < 2000
    assert samples[-1].all_cpu >= samples[-1].cpu > samples[0].cpu
    assert "seed=5: budget" in (tmp_path / scale.OUTPUT).read_text()
    assert scale.peer(case.overrides(2), "--steps-too") > 0
    with pytest.raises(RuntimeError, match="no such key"):
        scale.sampled(tmp_path, ["model.wdith=3"])


def test_the_step_that_is_compiled_is_a_gd_step():
    """From a fixed point, it is the step along the gradients that autograd computes."""
    torch.manual_seed(3)
    n, m, eta = 6, 10, 1e-3
    x, y = torch.randn(n, n, dtype=torch.float64), torch.randn(n, dtype=torch.float64)
    w, u = (0.1 * torch.randn(m, k, dtype=torch.float64) for k in (m, n))
    a = torch.randn(m, dtype=torch.float64)
    w, u, a = (part.requires_grad_() for part in (w, u, a))

    def equilibria() -> torch.Tensor:
        q = torch.zeros(n, m, dtype=torch.float64)
        for _ in range(200):
            q = torch.tanh(q) @ w.mT + x.mT @ u.mT
        return q

    q = equilibria()
    loss = 0.5 * (torch.tanh(q) @ a - y).square().sum()
    loss.backward()
    with torch.no_grad():
        v, slope = a.expand(n, m), 1 - torch.tanh(q) ** 2
        for _ in range(200):
            v = a + (slope * v) @ w
        empty = torch.zeros_like(q)
        zero = (empty,) * compiled.DEPTH, torch.zeros(n, compiled.DEPTH, 1, dtype=q.dtype)
        sides = [
            compiled.Side(part, *zero, torch.eye(compiled.DEPTH, dtype=q.dtype).repeat(n, 1, 1))
            for part in (q, v)
        ]
        state = compiled.State(w, x.mT @ u.mT, a, *sides)
        after, figures = compiled.step(state, x.mT @ x, y, torch.tensor(eta, dtype=q.dtype))
        assert figures[:2].max() < 1e-12
        assert figures[2] == pytest.approx(float(loss), rel=1e-12)
        for new, old, gradient in ((after.w, w, w.grad), (after.a, a, a.grad)):
            torch.testing.assert_close(new, old - eta * gradient, rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(after.p, x.mT @ (u - eta * u.grad).mT, rtol=1e-11, atol=1e-13)
