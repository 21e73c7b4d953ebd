"""MNIST and CIFAR-10 from a mock of OpenML: loading, caching, errors."""

import hashlib
import socket
import struct
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deq.data import Cifar10Config, MnistConfig, archive, digest, load, shape_of

# As users run it: here a warning of scikit-learn's is no error unless the code makes it one.
PLAIN = pytest.mark.filterwarnings("ignore")
REQUESTS = 4  # of one download: description, features, qualities, file


@pytest.fixture
def mnist(openml, tmp_path):
    """Five images of the mock, not downloaded yet."""
    return MnistConfig(n=5, cache=str(tmp_path / "data"))


def files(config):
    """All files in the cache."""
    folder = Path(config.cache)
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.parametrize("cls", [MnistConfig, Cifar10Config])
@pytest.mark.parametrize("classes", [(0, 1), (2, 0)])
@pytest.mark.parametrize("quote", ["", "'"])
def test_the_first_of_each_class_in_order(cls, classes, quote, openml, tmp_path):
    openml.quote = quote
    config = cls(n=5, classes=classes, cache=str(tmp_path))
    data = load(config)
    rows = np.vstack([openml.of_class(classes[0])[:3], openml.of_class(classes[1])[:2]])
    rows = rows - rows.mean(axis=0)
    expected = 4 * rows / np.linalg.norm(rows, axis=1, keepdims=True)  # sqrt(d) = 4
    torch.testing.assert_close(data.x, torch.tensor(expected.T), rtol=1e-13, atol=1e-13)
    assert data.y.tolist() == [-1.0] * 3 + [1.0] * 2
    assert data.y.dtype == torch.float64
    assert openml.requests[0].endswith(f"/data/{ {'mnist': 554, 'cifar10': 40927}[config.name] }")
    assert files(config) == [f"{config.name}.npz"]


@pytest.fixture
def photographs(tmp_path):
    """An archive of seven and six images of 5 pixels in three colours; and its config."""
    generator = np.random.default_rng(4)
    images = {
        k: generator.integers(0, 256, (count, 15), dtype=np.uint8) for k, count in ((0, 7), (1, 6))
    }
    np.savez(tmp_path / "cifar10.npz", **{str(k): part for k, part in images.items()})
    return images, Cifar10Config(n=7, test_n=4, cache=str(tmp_path))


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("norm", [1.0, 0.2])
def test_grayscale_then_centring_then_the_norm(photographs, centred, norm):
    images, config = photographs
    config = replace(config, grayscale=True, centred=centred, norm=norm)
    rows = [*images[0][:4], *images[1][:3], *images[0][4:6], *images[1][3:5]]
    gray = np.array(
        [[0.299 * r[p] + 0.587 * r[5 + p] + 0.114 * r[10 + p] for p in range(5)] for r in rows]
    )
    if centred:
        gray = gray - gray[:7].mean(axis=0)
    expected = norm * np.sqrt(5) * (gray / np.linalg.norm(gray, axis=1, keepdims=True)).T
    data = load(config)
    both = torch.cat([data.x, data.test.x], dim=1).numpy()
    assert np.allclose(both, expected, rtol=1e-13, atol=1e-13)
    assert (both >= 0).all() != centred
    assert shape_of(config) == (5, 7)


def test_the_digest_does_not_depend_on_the_preparation(photographs):
    _, config = photographs
    pinned = replace(config, sha256=digest(config))
    for changes in ({"grayscale": True}, {"centred": False}, {"norm": 2.0}, {"labels": "uniform"}):
        assert digest(replace(config, **changes)) == pinned.sha256
        load(replace(pinned, **changes))
    assert load(replace(config, labels="uniform")).y.min() > 0


def test_columns_have_norm_root_d(mnist):
    norms = torch.linalg.vector_norm(load(mnist).x, dim=0)
    torch.testing.assert_close(norms, torch.full((5,), 4.0).double(), rtol=1e-14, atol=0)


def test_the_digest_is_of_samples_and_labels(openml, mnist):
    rows = [*openml.of_class(0)[:3].tolist(), *openml.of_class(1)[:2].tolist()]
    numbers = [float(pixel) for row in rows for pixel in row] + [-1.0] * 3 + [1.0] * 2
    expected = hashlib.sha256(struct.pack(f"<{len(numbers)}d", *numbers)).hexdigest()
    assert digest(mnist) == expected
    assert torch.equal(load(replace(mnist, sha256=expected)).x, load(mnist).x)
    with pytest.raises(ValueError, match=r"mnist\.npz does not hold the samples"):
        load(replace(mnist, n=4, sha256=expected))


def test_a_download_serves_every_later_load(openml, mnist):
    first = load(mnist)
    assert len(openml.requests) == REQUESTS
    openml.close()
    assert torch.equal(load(mnist).x, first.x)
    assert load(replace(mnist, n=20, classes=(1, 2))).x.shape == (16, 20)
    assert len(openml.requests) == REQUESTS


@PLAIN
@pytest.mark.parametrize(
    ("fault", "match"),
    [
        ({"md5": "0" * 32}, "md5 checksum"),
        ({"cut": 40}, "ended before the end-of-stream marker"),
        ({"status": 503}, "answers 503"),
        ({"status": 412}, "554 not found"),
    ],
)
def test_a_bad_answer_is_refused_and_leaves_no_file(openml, mnist, fault, match):
    before = vars(openml).copy()
    vars(openml).update(fault)
    with pytest.raises(ValueError, match=match) as error:
        load(mnist)
    assert "\n" not in str(error.value)
    assert len(set(openml.requests)) == len(openml.requests)  # nothing was asked twice
    assert files(mnist) == []
    vars(openml).update({key: before[key] for key in fault})
    assert load(mnist).x.shape == (16, 5)


@PLAIN
def test_offline_is_reported_at_once_with_a_remedy(openml, mnist):
    openml.close()
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"refused.*online.*mnist\.npz of another.*npz") as error:
        load(mnist)
    assert time.monotonic() - started < 5
    assert "\n" not in str(error.value)
    assert mnist.cache in str(error.value)
    assert files(mnist) == []


@PLAIN
def test_a_silent_server_is_tried_once(openml, mnist, monkeypatch):
    monkeypatch.setattr(archive, "PATIENCE", 0.3)
    openml.silent = True
    started = time.monotonic()
    with pytest.raises(ValueError, match="timed out"):
        load(mnist)
    assert time.monotonic() - started < 5
    assert len(openml.requests) == 1
    assert socket.getdefaulttimeout() is None


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path):
    path.write_bytes(b"")


def altered(path):
    """One byte within the data of class 0."""
    content = bytearray(path.read_bytes())
    with np.load(path) as arrays:
        content[content.index(arrays["0"].tobytes()) + 7] ^= 1
    path.write_bytes(content)


def flagged(path):
    """The flag of an encrypted member, in the zip's directory."""
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


def foreign(path):
    np.savez(path, **{"0": np.eye(3)})


def pickled(path):
    np.savez(path, **{"0": np.array([{}], dtype=object)})


def single(path):
    with path.open("wb") as file:
        np.save(file, np.eye(3))


@pytest.mark.parametrize("damage", [truncated, emptied, altered, flagged, foreign, pickled, single])
def test_a_damaged_file_is_noticed(openml, mnist, damage):
    path = Path(mnist.cache) / "mnist.npz"
    before = load(mnist)
    damage(path)
    assert torch.equal(load(mnist).x, before.x)
    assert len(openml.requests) == 2 * REQUESTS
    damage(path)
    openml.close()
    with pytest.raises(ValueError, match=r"mnist\.npz is damaged.*refused") as error:
        load(mnist)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("pixel", [256, -1, 0.5, "?"])
def test_pixels_that_are_not_bytes_are_refused(openml, mnist, pixel):
    openml.images = openml.images.astype(object)
    openml.images[4, 2] = pixel
    with pytest.raises(ValueError, match="cannot download"):
        load(mnist)
    assert files(mnist) == []


def test_parallel_images_are_named(openml, mnist):
    places = np.flatnonzero(openml.labels == 0)
    openml.images[places[2]] = openml.images[places[0]]
    with pytest.raises(ValueError, match="parallel: 0 and 2"):
        load(mnist)


def test_missing_samples_are_named(mnist):
    with pytest.raises(ValueError, match=r"data\.n=21.*mnist has 10 samples.*at most 20"):
        load(replace(mnist, n=21))
    with pytest.raises(ValueError, match="no samples of class 7"):
        load(replace(mnist, classes=(0, 7)))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [({"n": 0}, "at least 1"), ({"classes": (1, 1)}, "two different"), ({"classes": (0, 10)}, "9")],
)
def test_invalid_configs_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        MnistConfig(**wrong)


def test_without_a_cache_nothing_is_downloaded(openml):
    with pytest.raises(ValueError, match=r"data\.cache=FOLDER"):
        load(MnistConfig())
    assert openml.requests == []


def test_a_cache_that_cannot_be_created_is_refused(openml, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="Not a directory"):
        load(MnistConfig(cache=str(tmp_path / "file")))
