"""Trained weights: W, U and a at the end, on disk, and as a model."""

import dataclasses

import numpy as np
import pytest
import torch
from networks import first_network

import deq
from deq.theory.rejection_sampling import starting_weights
from deq.training.checkpoint import load_newest, write_checkpoint

SPHERE = deq.SphereConfig(n=6, d=4, seed=3)
TIGHT = deq.SolverConfig(tol=1e-13)
# Relative, of the least eigenvalues that training measures (LeastEigenvalue.TOL).
CERTIFIED = 1e-6


def trial(**changes):
    changes.setdefault("model", deq.ModelConfig(width=12, activation="tanh"))
    base = {"data": SPHERE, "train": deq.TrainConfig(steps=30), "solver": TIGHT}
    return deq.TrialConfig(**base | changes)


def ended(*configs, keep=True):
    data = [deq.load(config.data) for config in configs]
    descent = deq.GradientDescent(configs, data, keep_weights=keep)
    for _ in descent:
        pass
    return descent


def model_of(descent, k=0):
    weights = descent.weights(k)
    return deq.Trained(descent.runs[k].config, weights.w, weights.u, weights.a)


def loss(model, data):
    return 0.5 * float((model.predict(data.x) - data.y).double().square().sum())


@pytest.mark.parametrize(
    ("data", "activation"),
    [
        (SPHERE, "tanh"),  # n > d: the data see all of U
        (deq.SphereConfig(n=3, d=8), "relu"),  # n < d
        (deq.DigitsConfig(n=10), "gaussian"),  # centred: X has not full rank
    ],
)
def test_the_last_row_belongs_to_the_kept_weights(data, activation):
    config = trial(data=data, model=deq.ModelConfig(width=24, activation=activation, sigma_w2=0.02))
    descent = ended(config)
    model, row, dataset = model_of(descent), descent.runs[0].rows[-1], deq.load(data)
    assert loss(model, dataset) == pytest.approx(row["loss"], rel=1e-10)
    least = np.linalg.eigvalsh(model.gram(dataset.x).numpy())[0]
    assert least == pytest.approx(row["lambda_min_gram"], rel=CERTIFIED)
    least = np.linalg.eigvalsh(model.tangent(dataset.x).numpy())[0]
    assert least == pytest.approx(row["lambda_min_tangent"], rel=CERTIFIED)
    assert torch.linalg.matrix_norm(model.w, 2) == pytest.approx(row["norm_w"], rel=1e-5)


def test_u_equals_that_of_plain_gradient_descent():
    """Steps on (W, U, a) with numerical gradients of the loss, from the same start."""
    config = trial(train=deq.TrainConfig(steps=3, eta=0.3), data=deq.SphereConfig(n=3, d=5))
    descent = ended(config)
    data, eta = deq.load(config.data), descent.runs[0].eta
    w, u, a = first_network(config.model, 0, 5)
    for _ in range(3):
        x, y = data.x, data.y
        leaves = [part.detach().requires_grad_() for part in (w, u, a)]
        z = torch.zeros(12, 3, dtype=torch.float64)
        for _ in range(200):
            z = torch.tanh(leaves[0] @ z + leaves[1] @ x)
        phi = 0.5 * (leaves[2] @ z - y).square().sum()
        grads = torch.autograd.grad(phi, leaves)
        w, u, a = (leaf.detach() - eta * g for leaf, g in zip(leaves, grads, strict=True))
    kept = descent.weights(0)
    for ours, theirs in ((kept.w, w), (kept.u, u), (kept.a, a)):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_the_tangent_kernel_agrees_with_differences_of_predict():
    model, x = model_of(ended(trial())), deq.load(SPHERE).x
    h, columns = 1e-6, []
    for name in ("w", "u", "a"):
        part = getattr(model, name)
        for k in range(part.numel()):
            moved = []
            for sign in (1, -1):
                other = part.clone()
                other.view(-1)[k] += sign * h
                moved.append(dataclasses.replace(model, **{name: other}).predict(x))
            columns.append((moved[0] - moved[1]) / (2 * h))
    jacobian = torch.stack(columns, dim=1)  # (n, parameters)
    torch.testing.assert_close(model.tangent(x), jacobian @ jacobian.T, rtol=1e-6, atol=1e-6)
    e = model.predict(x) - deq.load(SPHERE).y
    row = ended(trial()).runs[0].rows[-1]
    gradient = torch.linalg.vector_norm(jacobian.T @ e)
    assert float(gradient) == pytest.approx(row["grad_norm"], rel=1e-5)


def test_each_trial_of_a_pack_keeps_its_own_weights():
    """One converges early, one diverges, one is stopped, one uses its budget."""
    easy = trial(train=deq.TrainConfig(steps=30, loss_tol=0.5))
    wild = trial(train=deq.TrainConfig(steps=30, eta=40.0), seed=1)
    descent = deq.GradientDescent(
        [easy, wild, trial(seed=2), trial(seed=3)], [deq.load(SPHERE)] * 4, keep_weights=True
    )
    for step in descent:
        if step == 10:
            descent.stop(descent.runs[2], "enough")
    statuses = [str(run.status) for run in descent.runs]
    assert statuses == ["converged", "diverged", "stopped", "budget"]
    for k in (0, 3):
        alone = model_of(ended(descent.runs[k].config))
        torch.testing.assert_close(model_of(descent, k).w, alone.w, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(model_of(descent, k).u, alone.u, rtol=1e-9, atol=1e-12)
        row = descent.runs[k].rows[-1]
        assert loss(model_of(descent, k), deq.load(SPHERE)) == pytest.approx(row["loss"], rel=1e-9)
    stopped = model_of(descent, 2)  # between two steps: its weights are those after its last row
    assert loss(stopped, deq.load(SPHERE)) < descent.runs[2].rows[-1]["loss"]


def test_u_outside_the_data_is_that_of_the_redrawn_network():
    redrawn = deq.ModelConfig(
        width=64, sigma_w2=0.01, sigma_a=0.01, activation="leaky_relu", init="redraw"
    )
    config = trial(model=redrawn, data=deq.SphereConfig(n=2, d=3, seed=1), seed=4)
    x = deq.load(config.data).x
    small = deq.Dataset(x=x, y=torch.tensor([1e-3, -1e-3], dtype=torch.float64))
    start = starting_weights([config], [small], torch.device("cpu"))[1][0]
    first = first_network(config.model, 4, 3)
    assert not torch.equal(start, first[1])  # it was drawn more than once
    descent = deq.GradientDescent([config], [small], keep_weights=True)
    for _ in descent:
        pass
    unseen = torch.eye(3, dtype=torch.float64) - x @ torch.linalg.pinv(x)
    moved = descent.weights(0).u - start
    assert float((moved @ x).norm()) > 1e-9
    assert float((moved @ unseen).norm()) < 1e-13


def test_a_float64_finish_gives_float64_weights():
    config = trial(
        dtype="float32",
        solver=deq.SolverConfig(tol=1e-6, finish="float64"),
        train=deq.TrainConfig(steps=400, eta=1.0),
    )
    descent = ended(config)
    model, rows = model_of(descent), descent.runs[0].rows
    assert model.u.dtype == model.w.dtype == torch.float64
    assert loss(model, deq.load(SPHERE)) == pytest.approx(rows[-1]["loss"], rel=1e-3)


def test_a_restored_descent_keeps_weights(tmp_path):
    config, data = trial(), deq.load(SPHERE)
    descent = deq.GradientDescent([config], [data])
    for step in descent:
        if step == 12:
            break
    write_checkpoint(tmp_path, descent, {}, {})
    result, _ = load_newest(tmp_path, {})
    again = result.descent([config], [data], keep_weights=True)
    for _ in again:
        pass
    for name in ("w", "u", "a"):
        assert torch.equal(getattr(again.weights(0), name), getattr(ended(config).weights(0), name))


def test_weights_that_were_not_kept_are_refused():
    descent = ended(trial(), keep=False)
    with pytest.raises(ValueError, match="keep_weights=True"):
        descent.weights(0)


def saved(folder, **changes):
    config = trial(**changes)
    path = folder / "new" / "weights.safetensors"
    digest = deq.save_weights(path, config, ended(config).weights(0), {"config_hash": "0f"})
    return config, path, digest


@pytest.mark.parametrize("data", [SPHERE, deq.DigitsConfig(n=8, classes=(3, 5))])
def test_a_weights_file_restores_the_model(tmp_path, data):
    config, path, digest = saved(tmp_path, data=data, seed=4)
    model, text = deq.read_weights(path)
    assert model.config == config
    assert text["config_hash"] == "0f"
    assert text["sha256"] == digest
    ours = ended(config).weights(0)
    assert all(torch.equal(getattr(model, name), getattr(ours, name)) for name in ("w", "u", "a"))
    assert torch.equal(deq.load_trained(str(path)).w, model.w)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_damaged_or_foreign_weights_file_is_refused(tmp_path):
    _, path, _ = saved(tmp_path)
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[-5] ^= 1
    other = good.replace(b'\\"width\\": 12', b'\\"width\\": 13')
    assert other != good
    for bad in (bytes(flipped), good[:-8], good[:20], b"", b"\x80\x04pickle", other):
        path.write_bytes(bad)
        with pytest.raises(deq.WeightsFileError, match="holds no trial's weights") as refused:
            deq.load_trained(path)
        assert "\n" not in str(refused.value)
    with pytest.raises(deq.WeightsFileError, match="cannot be read: No such file"):
        deq.load_trained(tmp_path / "none")


def test_a_file_whose_activation_is_not_there_is_no_wrong_file(tmp_path):
    """The user is to bring the module, and not to train again."""
    config, path, _ = saved(tmp_path)
    object.__setattr__(config.model, "activation", "no_such_module:phi")
    deq.save_weights(path, config, ended(trial()).weights(0), {})
    with pytest.raises(ValueError, match="no module 'no_such_module'") as refused:
        deq.load_trained(path)
    assert not isinstance(refused.value, deq.WeightsFileError)
    assert "holds no" not in str(refused.value)


def test_wrong_inputs_and_missing_equilibria_are_refused():
    model = model_of(ended(trial()))
    for x in (torch.ones(5, 2), torch.ones(4), torch.ones(4, 0), torch.full((4, 2), torch.nan)):
        with pytest.raises(ValueError, match=r"x must be finite and \(4, n\)"):
            model.predict(x)
    for wrong in ([1.0, 2.0], None, np.ones((4, 2))):
        for method in (model.predict, model.equilibrium, model.gram, model.tangent):
            with pytest.raises(ValueError, match=r"x must be a torch tensor, \(4, n\), not a"):
                method(wrong)
    linear = dataclasses.replace(model.config, model=deq.ModelConfig(width=12, activation="relu"))
    wild = dataclasses.replace(model, config=linear, w=torch.eye(12, dtype=torch.float64) * 3)
    with pytest.raises(ValueError, match="there is no equilibrium at these inputs"):
        wild.predict(torch.ones(4, 2))
