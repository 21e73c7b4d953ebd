"""Data sets: what they hold, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from deq.data import DigitsConfig, NpzConfig, SphereConfig, digest, load, shape_of
from deq.data.digits import COUNTS, PIXELS

GOOD = np.array([[1.0, 0.0, 1.0], [0.0, 2.0, 1.0]])
Y = np.array([1.0, -1.0, 0.5])


@pytest.mark.parametrize("config", [DigitsConfig(n=7), DigitsConfig(), SphereConfig(n=9, d=5)])
def test_columns_have_norm_root_d(config):
    data = load(config)
    d, n = data.x.shape
    assert n == config.n == data.y.numel()
    norms = torch.linalg.vector_norm(data.x, dim=0)
    torch.testing.assert_close(
        norms, torch.full((n,), d**0.5, dtype=torch.float64), rtol=1e-14, atol=0
    )


def test_digits_are_the_first_of_each_class():
    y = load(DigitsConfig(n=7)).y
    assert y.tolist() == [-1.0] * 4 + [1.0] * 3
    with pytest.raises(ValueError, match="larger than the data set"):
        load(DigitsConfig(n=1000))


def test_the_sphere_has_its_own_seed():
    assert torch.equal(load(SphereConfig()).x, load(SphereConfig()).x)
    assert not torch.equal(load(SphereConfig()).x, load(SphereConfig(seed=1)).x)


def npz(tmp_path, **arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return NpzConfig(path=str(path))


def test_own_arrays(tmp_path):
    data = load(npz(tmp_path, x=GOOD, y=Y))
    assert data.y.tolist() == Y.tolist()
    torch.testing.assert_close(data.x[:, 2], torch.ones(2).double())


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"x": np.where(GOOD == 2, np.nan, GOOD), "y": Y}, r"not finite.*\(1, 1\)"),
        ({"x": GOOD * [1, 0, 1], "y": Y}, "zero: 1"),
        ({"x": np.array([[1.0, 3.0, 0.0], [1.0, 3.0, 1.0]]), "y": Y}, "parallel: 0 and 1"),
        ({"x": np.array([[1.0, 0.0, -2.0], [1.0, 1.0, -2.0]]), "y": Y}, "parallel: 0 and 2"),
        ({"x": GOOD}, "no array 'y'"),
        ({"x": GOOD.T, "y": Y}, "transpose"),
        ({"x": GOOD.astype("U"), "y": Y}, "real numbers"),
    ],
)
def test_arrays_that_cannot_be_used_are_named(tmp_path, arrays, match):
    with pytest.raises(ValueError, match=match):
        load(npz(tmp_path, **arrays))


def test_an_object_array_is_not_unpickled(tmp_path):
    with pytest.raises(ValueError, match="pickle"):
        load(npz(tmp_path, x=np.array([[{}]], dtype=object), y=Y))


def test_a_changed_file_is_refused(tmp_path):
    config = npz(tmp_path, x=GOOD, y=Y)
    sealed = NpzConfig(path=config.path, sha256=digest(config))
    assert load(sealed).x.shape == (2, 3)
    npz(tmp_path, x=GOOD + 1, y=Y)
    with pytest.raises(ValueError, match="not the file"):
        load(sealed)


def test_files_that_are_none(tmp_path):
    (tmp_path / "text").write_text("no")
    with pytest.raises(ValueError, match=r"no \.npz"):
        load(NpzConfig(path=str(tmp_path / "text")))
    with pytest.raises(ValueError, match="cannot read"):
        load(NpzConfig(path=str(tmp_path / "absent")))


@pytest.mark.parametrize("classes", [(0, 1), (3, 8), (9, 4)])
def test_the_shape_of_digits_is_known_without_loading_them(classes):
    most = DigitsConfig(n=2 * min(COUNTS[label] for label in classes), classes=classes)
    assert load(most).x.shape == shape_of(most)
    for function in (load, shape_of):
        with pytest.raises(ValueError, match="larger than the data set"):
            function(replace(most, n=most.n + 2))


def test_the_counts_of_digits_are_those_of_the_data_set():
    for label in range(1, 10):
        config = DigitsConfig(n=2 * min(COUNTS[0], COUNTS[label]), classes=(0, label))
        assert load(config).x.shape == (PIXELS, config.n)
        with pytest.raises(ValueError, match=f"class {min((0, label), key=COUNTS.__getitem__)},"):
            load(replace(config, n=config.n + 2))
