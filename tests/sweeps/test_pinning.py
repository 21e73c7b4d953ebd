"""Pinning of data files and own activations, without a composed config."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

import deq
from sweeps.config.pinning import PinnedData, pin_data, pinned
from sweeps.errors import ConfigError

DIGITS = deq.DigitsConfig(n=8)


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A data file of 5 samples in 6 dimensions, in the current folder."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).standard_normal((6, 5))
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(5.0))
    return tmp_path / "own.npz"


def test_a_data_set_without_files_has_a_shape_and_no_pins(tmp_path):
    assert pin_data(DIGITS, tmp_path, {}) == PinnedData({}, deq.shape_of(DIGITS))


def test_a_file_is_pinned_by_its_absolute_path_its_digest_and_its_size(file, tmp_path):
    pins = pin_data(deq.NpzConfig(path="own.npz"), tmp_path, {})
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert pins == PinnedData({"path": str(file), "sha256": digest, "n": 5}, (6, 5))


def test_a_data_set_is_read_once(file, tmp_path):
    seen = {}
    pins = pin_data(deq.NpzConfig(path="own.npz"), tmp_path, seen)
    file.unlink()
    assert pin_data(deq.NpzConfig(path="own.npz"), tmp_path, seen) is pins
    with pytest.raises(ConfigError, match=r"^data=npz: ") as raised:
        pin_data(deq.NpzConfig(path="own.npz"), tmp_path, {})
    assert (raised.value.key, raised.value.value) == ("data", "npz")
    assert list(seen.values()) == [pins]
    assert pin_data(DIGITS, tmp_path, seen) == pin_data(DIGITS, tmp_path, {}) != pins


def test_another_digest_than_the_files_is_refused(file, tmp_path):
    with pytest.raises(ConfigError, match=r"^data=npz: .*own\.npz"):
        pin_data(deq.NpzConfig(path="own.npz", sha256="0" * 64), tmp_path, {})


def test_downloads_of_a_data_set_lie_under_the_output_root(tmp_path):
    save(tmp_path / "out" / "data", "mnist")
    pins = pin_data(deq.MnistConfig(n=4), tmp_path / "out", {})
    assert pins.pins["cache"] == str(tmp_path / "out" / "data")
    assert len(pins.pins["sha256"]) == 64
    assert sorted(pins.pins) == ["cache", "sha256"]


def test_another_folder_may_hold_the_download_and_none_is_made_there(tmp_path):
    save(tmp_path / "shared", "mnist")
    config = deq.MnistConfig(n=4, cache=str(tmp_path / "shared"))
    assert pin_data(config, tmp_path / "out", {}).pins["cache"] == str(tmp_path / "shared")
    config = replace(config, cache=str(tmp_path / "empty"))
    with pytest.raises(ConfigError) as raised:
        pin_data(config, tmp_path / "out", {})
    assert str(raised.value) == (
        f"data.cache={tmp_path}/empty has no mnist.npz, and nothing is written outside "
        f"paths.output={tmp_path}/out: put it there, or leave data.cache empty to download it"
    )
    assert raised.value.key == "data.cache"


def test_a_folder_that_cannot_be_looked_at_is_refused_with_the_reason(tmp_path):
    config = deq.MnistConfig(n=4, cache=f"/{'a' * 300}")
    with pytest.raises(ConfigError, match=r"^data.cache=/a+: File name too long$") as raised:
        pin_data(config, tmp_path, {})
    assert raised.value.key == "data.cache"


def test_a_config_takes_the_pins_and_the_activations_digest(tmp_path, monkeypatch):
    (tmp_path / "own_pin.py").write_text(
        "import torch\n\nimport deq\n\n"
        'wave = deq.Activation("wave", torch.sin, torch.cos, 1.0, 1.0, 0.0, True)\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = deq.TrialConfig(data=deq.NpzConfig(path="a.npz"))
    data = PinnedData({"path": "/b.npz", "n": 3}, (2, 3))
    result = pinned(config, data)
    assert result.data == deq.NpzConfig(path="/b.npz", n=3)
    assert result.model == config.model
    own = replace(config, model=replace(config.model, activation="own_pin:wave"))
    digest = deq.activation_digest("own_pin:wave")
    assert digest
    assert pinned(own, data).model == replace(own.model, activation_sha256=digest)


def save(folder, name):
    """A download as `deq` keeps one: bytes of each class."""
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 255, (8, 784)).astype(np.uint8)
    np.savez(folder / f"{name}.npz", **{"0": images[:4], "1": images[4:]})
