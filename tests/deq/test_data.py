"""Data sets: their content, and the errors for unusable data."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from deq.data import DigitsConfig, NpzConfig, SphereConfig, digest, load, shape_of
from deq.data.digits import COUNTS, PIXELS, read_digits
from deq.data.npz import read_npz

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
def test_unusable_arrays_are_named(tmp_path, arrays, match):
    with pytest.raises(ValueError, match=match):
        load(npz(tmp_path, **arrays))


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"x": np.array([[{}]], dtype=object), "y": Y}, "array x must hold .* not object"),
        ({"x": GOOD, "y": Y.astype(object)}, r"array y must .* y=y\.astype\(float\)"),
        ({"x": GOOD, "y": np.array(["a", "b", "c"])}, "array y must hold real numbers, not <U1"),
        ({"x": GOOD * 1j, "y": Y}, "not complex128: save it as numbers, for example x=abs.x.$"),
        ({"x": GOOD, "y": np.array([1.0, np.inf, 0.5])}, "array y has 1 values .* drop"),
        ({"x": GOOD * [1, 0, 1], "y": Y}, "zero: 1; drop"),
    ],
)
def test_the_error_names_file_array_and_remedy(tmp_path, arrays, match):
    config = npz(tmp_path, **arrays)
    with pytest.raises(ValueError, match=match) as caught:
        load(config)
    assert str(caught.value).startswith(f"data.path={config.path}: ")
    assert "pickle" not in str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_byte_never_changes_the_arrays_unnoticed(tmp_path, save):
    config = NpzConfig(path=str(tmp_path / "data.npz"))
    save(config.path, x=GOOD, y=Y)
    whole, errors = (tmp_path / "data.npz").read_bytes(), []
    good = load(config)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (tmp_path / "data.npz").write_bytes(damaged)
        try:
            result = load(config)
        except ValueError as error:
            errors.append(str(error))
        else:
            assert torch.equal(result.x, good.x)
            assert torch.equal(result.y, good.y)
        with pytest.raises(ValueError, match="not the file of this config"):
            load(replace(config, sha256=hashlib.sha256(whole).hexdigest()))
    assert len(errors) > len(whole) / 3
    assert [text for text in errors if config.path not in text or not text.isprintable()] == []


@pytest.mark.parametrize("power", [-1070, -600, 600, 1020])
def test_inputs_whose_squares_overflow_are_normalised(tmp_path, power):
    large = load(npz(tmp_path, x=np.ldexp(GOOD, power), y=Y))
    assert torch.equal(large.x, load(npz(tmp_path, x=GOOD, y=Y)).x)


LAYOUTS = {
    "big-endian": lambda a: a.astype(">f8"),
    "Fortran order": np.asfortranarray,
    "reversed strides": lambda a: np.flip(np.flip(a).copy()),
    "longdouble": lambda a: a.astype(np.longdouble),
    "float32": lambda a: a.astype(np.float32),
    "float16": lambda a: a.astype(np.float16),
    "big-endian float32": lambda a: a.astype(">f4"),
    "int64": lambda a: (8 * a).astype(np.int64),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_every_layout_are_read_to_the_last_digit_they_store(tmp_path, layout, save):
    generator = np.random.default_rng(0)
    x, y = (LAYOUTS[layout](generator.standard_normal(shape)) for shape in ((4, 3), (3,)))
    save(tmp_path / "my data [1] é.npz", x=x, y=y)
    (tmp_path / "link.npz").symlink_to(tmp_path / "my data [1] é.npz")
    result = read_npz(NpzConfig(path=str(tmp_path / "link.npz")))
    for mine, theirs in zip(result, (x, y), strict=True):
        assert np.array_equal(mine, theirs.astype(np.float64))


def test_a_changed_file_is_refused(tmp_path):
    config = npz(tmp_path, x=GOOD, y=Y)
    sealed = NpzConfig(path=config.path, sha256=digest(config))
    assert load(sealed).x.shape == (2, 3)
    npz(tmp_path, x=GOOD + 1, y=Y)
    with pytest.raises(ValueError, match="not the file"):
        load(sealed)


def test_files_that_are_no_npz_are_refused(tmp_path):
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


def test_digits_are_those_that_scikit_learn_reads():
    """The file's path in scikit-learn is private; this test fails if it changes."""
    pixels, labels = load_digits(return_X_y=True)
    for first, second in ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9)):
        n = 2 * min(COUNTS[first], COUNTS[second])
        rows, y = read_digits(DigitsConfig(n=n, classes=(first, second)))
        ours = [pixels[labels == digit][: n // 2] for digit in (first, second)]
        assert np.array_equal(rows, np.concatenate(ours))
        assert np.array_equal(y, np.repeat([-1.0, 1.0], n // 2))


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("function", [load, shape_of])
def test_centring_needs_at_least_three_images(function, n):
    with pytest.raises(ValueError, match=f"data.n={n}: .* at least 3"):
        function(DigitsConfig(n=n))


def test_images_that_are_not_centred_are_scaled_only():
    config = DigitsConfig(n=2, centred=False)
    rows, labels = read_digits(config)
    data = load(config)
    expected = 8 * rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.allclose(data.x.numpy(), expected.T, rtol=1e-14, atol=0)
    assert data.y.tolist() == labels.tolist() == [-1.0, 1.0]
    assert shape_of(config) == (64, 2)


def test_the_counts_of_digits_are_those_of_the_data_set():
    for label in range(1, 10):
        config = DigitsConfig(n=2 * min(COUNTS[0], COUNTS[label]), classes=(0, label))
        assert load(config).x.shape == (PIXELS, config.n)
        with pytest.raises(ValueError, match=f"class {min((0, label), key=COUNTS.__getitem__)},"):
            load(replace(config, n=config.n + 2))
