"""Single-index DEQs: labels, conserved quantities, and the minimum that they determine."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from small_trials import config

from deq.config import ModelConfig, TrainConfig
from deq.data import DigitsConfig, NpzConfig, OrthonormalConfig, SphereConfig, load
from deq.data.labels import index_direction
from deq.theory.rejection_sampling import starting_weights
from deq.theory.single_index import minimum
from deq.training.comparison import train

INDEX = SphereConfig(n=24, d=3, seed=2, labels="single_index", label_seed=5)


def test_labels_are_those_of_one_index_of_the_inputs_without_bias(tmp_path):
    np.savez(tmp_path / "own.npz", x=np.random.default_rng(5).standard_normal((5, 6)), y=np.ones(6))
    for data in (
        DigitsConfig(n=6, test_n=3),
        SphereConfig(n=6, d=5, test_n=3, norm=0.7),
        OrthonormalConfig(n=4, d=7, test_n=2, bias=2.0),
        NpzConfig(path=str(tmp_path / "own.npz"), test_n=2),
    ):
        usual = load(data)
        index = load(dataclasses.replace(data, labels="single_index", label_seed=3))
        beta = index_direction(3, len(usual.x) - (data.bias > 0)).numpy()
        assert np.linalg.norm(beta) == pytest.approx(1, rel=1e-14)
        for ours, theirs in ((usual, index), (usual.test, index.test)):
            assert torch.equal(ours.x, theirs.x)
            expected = np.maximum(beta @ theirs.x.numpy()[: len(beta)], 0)
            np.testing.assert_allclose(theirs.y.numpy(), expected, rtol=1e-13, atol=1e-14)
            assert not torch.equal(ours.y, theirs.y)
    assert not torch.equal(index_direction(0, 4), index_direction(1, 4))


class Network:
    """A DEQ in numpy: gradient descent with explicit inverses on the active neurons."""

    def __init__(self, trial):
        data = load(trial.data)
        parts = starting_weights([trial], [data], torch.device("cpu"))
        self.w, self.u, self.a = (part[0].double().numpy().copy() for part in parts)
        self.x, self.y = data.x.numpy(), data.y.numpy()
        self.linear = trial.model.activation == "identity"

    def solve(self):
        """Equilibrium z (m, n), and yhat's gradient in the pre-activations, r (m, n)."""
        p = self.u @ self.x
        q = p
        for _ in range(50):  # ||W||_2 is below 0.4
            q = self.w @ (q if self.linear else np.maximum(q, 0)) + p
        mask = np.ones_like(q) if self.linear else (q > 0) * 1.0
        # v_i = a + W^T (D_i * v_i), all samples i at once.
        matrices = np.eye(len(q)) - self.w.T * mask.T[:, None, :]
        return mask * q, mask * np.linalg.solve(matrices, self.a[:, None])[..., 0].T

    def loss(self):
        return 0.5 * float(np.square(self.a @ self.solve()[0] - self.y).sum())

    def step(self, eta):
        """One GD step; the squares of the changes of W, U and a."""
        z, r = self.solve()
        e = self.a @ z - self.y
        changes = [eta * (r * e) @ z.T, eta * (r * e) @ self.x.T, eta * (z @ e)]
        self.w, self.u, self.a = (
            part - change for part, change in zip((self.w, self.u, self.a), changes, strict=True)
        )
        return [np.square(change) for change in changes]

    def radii(self):
        """||(I - W)_i||^2 + ||U_i||^2 of the rows, ||(I - W)_j||^2 + a_j^2 of the columns."""
        gap = np.square(np.eye(len(self.w)) - self.w)
        return np.array([gap.sum(1) + np.square(self.u).sum(1), gap.sum(0) + np.square(self.a)])


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("width", [1, 7])
def test_every_neuron_has_two_spheres_that_a_step_leaves_by_its_square(activation, width):
    """The engine's drifts are those of all neurons together."""
    train_ = TrainConfig(steps=9, eta=4e-3, eta_unit="absolute", loss_tol=0.0)
    model = ModelConfig(width, activation, sigma_w2=0.01)
    trial = config(model=model, train=train_, seed=3)
    outcome = train(trial)
    drifts = [outcome.summary[f"theory/sphere_drift{end}"] for end in ("", "_output")]
    network = Network(trial)
    first, grown = network.radii(), 0.0
    for _ in range(train_.steps):
        w, u, a = network.step(4e-3)
        grown = grown + np.array([w.sum(1) + u.sum(1), w.sum(0) + a])
    last = network.radii()
    assert grown.sum() > 1e-5
    np.testing.assert_allclose(last - first, grown, rtol=1e-9, atol=1e-14)
    assert drifts == pytest.approx(list(grown.sum(1) / first.sum(1)), rel=1e-6)


def index_trial(seed=1, eta=2e-3, data=INDEX, **parts):
    base = {"model": ModelConfig(1, "relu", sigma_w2=0.01), "seed": seed}
    base["train"] = TrainConfig(20_000, eta, "absolute", 1e-14)
    return config(data=data, **base | parts)


def end_of(trial):
    """A trial's network in numpy, and the minimum that it is predicted to reach."""
    network = Network(trial)
    w, u, a = float(network.w[0, 0]), torch.from_numpy(network.u[0]), float(network.a[0])
    x = torch.from_numpy(network.x)
    return network, minimum(x, index_direction(trial.data.label_seed, len(x)), w, u, a)


def test_the_minimum_is_on_sphere_and_circle_and_has_these_eigenvalues():
    """Compare with J J^T, whose J is the Jacobian by differences of the network in numpy."""
    network, end = end_of(index_trial())
    first = network.radii()
    network.w[0, 0], network.u[0], network.a[0] = 1 - end.gap, end.u.numpy(), end.a
    np.testing.assert_allclose(network.radii(), first, rtol=1e-13)
    assert network.loss() < 1e-28
    parts = (network.w, network.u, network.a)
    columns = []
    for part in parts:
        for place in np.ndindex(part.shape):
            value, sides = part[place], []
            for change in (1e-6, -1e-6):
                part[place] = value + change
                sides.append(network.a @ network.solve()[0])
            part[place] = value
            columns.append((sides[0] - sides[1]) / 2e-6)
    squares = np.linalg.svd(np.array(columns), compute_uv=False) ** 2
    assert squares[len(network.x) :] == pytest.approx(0, abs=1e-12)
    assert end.eigenvalues.numpy() == pytest.approx(squares[: len(network.x)][::-1], rel=1e-7)


@pytest.mark.parametrize("seed", [2, 5])
def test_gradient_descent_ends_there_up_to_its_step_size(seed):
    """In numpy; a(0) is above 0 with one seed, and below with the other."""
    errors = []
    for eta in (4e-3, 2e-3):
        network, end = end_of(index_trial(seed))
        for step in range(6000):
            network.step(eta)
            if step % 50 == 0 and network.loss() < 1e-10:
                break
        assert network.loss() < 1e-10
        w, u, a = float(network.w[0, 0]), torch.from_numpy(network.u[0]), float(network.a[0])
        errors.append(end.distance(w, u, a))
    assert errors[0] < 0.05
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1)


def test_a_trial_records_the_predicted_rate_and_does_not_divide_by_an_eigenvalue_that_is_0():
    trial = index_trial(2, train=TrainConfig(3000, 4e-3, "absolute", 1e-10))
    outcome = train(trial)
    summary, (_, end) = outcome.summary, end_of(trial)
    slowest = -2 * math.log1p(-4e-3 * float(end.eigenvalues[0]))
    assert outcome.status == "converged"
    assert summary["rate/single_index"] == pytest.approx(slowest, rel=1e-12)
    ratio = summary["rate/measured_end"] / summary["rate/single_index"]
    assert summary["rate/measured_end_over_single_index"] == ratio == pytest.approx(1, abs=0.05)
    assert summary["train/distance"] == pytest.approx(summary["theory/minimum_distance"], rel=0.05)
    assert "rate/measured_end_over_asymptotic" not in summary
    assert "rounding" in outcome.notes["rate/asymptotic_end"]


def test_biases_are_one_more_input_that_the_labels_do_not_know():
    data = dataclasses.replace(INDEX, bias=0.5)
    trial = index_trial(2, data=data, train=TrainConfig(2, 8e-3, "absolute"))
    network, beta = Network(trial), torch.zeros(4, dtype=torch.float64)
    beta[:3] = index_direction(5, 3)
    first = float(network.w[0, 0]), torch.tensor(network.u[0]), float(network.a[0])
    end = minimum(torch.from_numpy(network.x), beta, *first)
    network.w[0, 0], network.u[0], network.a[0] = 1 - end.gap, end.u.numpy(), end.a
    assert network.loss() < 1e-28
    summary = train(trial).summary
    assert summary["theory/minimum_distance"] == pytest.approx(end.distance(*first), rel=1e-12)
    assert summary["rate/single_index"] == pytest.approx(end.rate(8e-3), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"seed": 6}, r"a\(0\) <= -||u\(0\)||"),
        ({"eta": 0.06}, r"not stable at this step size: eta lambda_max\(H\) = "),
        (
            {"data": dataclasses.replace(INDEX, n=4, d=4)},
            "the minimum is not unique: .* do not span all dimensions",
        ),
        ({"model": ModelConfig(2)}, "model.width=1, model.activation=relu and full-batch"),
        ({"model": ModelConfig(1, "tanh")}, "for model.width=1, model.activation=relu"),
        ({"train": TrainConfig(3, momentum=0.5)}, "full-batch gradient descent of one step size"),
    ],
)
def test_the_record_says_why_there_is_no_prediction(change, why):
    trial = index_trial(**{"seed": 2, "train": TrainConfig(3)} | change)
    if "eta" in change:
        trial = dataclasses.replace(trial, train=TrainConfig(3, 0.06, "absolute"))
    outcome = train(trial)
    assert "rate/single_index" not in outcome.summary
    assert re.search(why, outcome.notes["rate/single_index"])


@pytest.mark.parametrize("seed", [6, 8])
def test_networks_that_do_not_reach_the_minimum(seed):
    """One keeps the sign of a; one stops at a = 0, where no sample with a label is active."""
    network = Network(index_trial(seed))
    for _ in range(3000):
        network.step(4e-3)
    z, _ = network.solve()
    assert network.loss() == pytest.approx(0.5 * float(np.square(network.y).sum()), rel=1e-2)
    if seed == 6:
        assert network.a[0] < -0.1
    else:
        assert network.a[0] == pytest.approx(0, abs=1e-12)
        assert not (z[0] * network.y).any()
        assert z.any()


@pytest.mark.parametrize("bias", [1.5, 0.0])
def test_a_network_without_an_active_sample_never_moves_and_predicts_nothing(bias):
    """With a bias 0 is outside the convex hull of the inputs, and many draws are inactive."""
    if bias:
        data = SphereConfig(n=30, d=4, seed=7, norm=0.3, bias=bias, labels="single_index")
    else:
        data = SphereConfig(n=2, d=2, seed=7, labels="single_index")
    x = load(data).x
    inactive = [seed for seed in range(24) if not active_at_start(seed, data, x)]
    assert inactive
    for seed in inactive[:3]:
        outcome = train(index_trial(seed, data=data, train=TrainConfig(20, 0.01, "absolute")))
        assert outcome.summary["train/distance"] == 0
        assert "theory/minimum_distance" not in outcome.summary
        assert "no input has u(0) . x > 0" in outcome.notes["rate/single_index"]


def active_at_start(seed, data, x):
    network = Network(index_trial(seed, data=data))
    return bool((network.u[0] @ x.numpy() > 0).any())


def test_no_minimum_without_a_label_above_0():
    x, beta = load(INDEX).x, index_direction(5, 3)
    x = x[:, beta @ x < 0]
    with pytest.raises(ValueError, match="no sample is active at the minimum"):
        minimum(x, beta, 0.1, -beta, 1.0)


def test_a_network_without_one_equilibrium_has_no_minimum():
    x, beta = load(INDEX).x, index_direction(5, 3)
    with pytest.raises(ValueError, match="w\\(0\\) >= 1"):
        minimum(x, beta, 1.2, beta, 1.0)


def test_other_labels_have_no_prediction_and_no_note():
    outcome = train(config(model=ModelConfig(1, "relu"), train=TrainConfig(2)))
    assert not any("single_index" in key for key in (*outcome.summary, *outcome.notes))
