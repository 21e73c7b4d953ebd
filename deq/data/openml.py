"""Two classes of MNIST or CIFAR-10 from OpenML."""

import hashlib
from pathlib import Path

import numpy as np

from deq.data.archive import Archive
from deq.data.config import Cifar10Config, OpenmlConfig
from deq.data.two_classes import first_of_each

# Shares of red, green and blue.
LUMINANCE = np.array([0.299, 0.587, 0.114])


def read_openml(config: OpenmlConfig) -> tuple[np.ndarray, np.ndarray]:
    """Read images (k, d) and labels y (k,); download them if the cache lacks them.

    Raises:
        ValueError: they cannot be downloaded, n is larger than the data set, or their digest
            is not `sha256`.
    """
    rows, y = _samples(config)
    digest = _sha256(rows, y)
    if config.sha256 and config.sha256 != digest:
        raise ValueError(
            f"{_archive(config).path} does not hold the samples of this config: their SHA-256 "
            f"is {digest[:12]}..., not {config.sha256[:12]}...; remove it to download anew"
        )
    if isinstance(config, Cifar10Config) and config.grayscale:
        return grayscale(rows), y
    return rows, y


def grayscale(rows: np.ndarray) -> np.ndarray:
    """Return the luminance of images, (k, d) with all red values first, then green, then blue.

    Returns:
        0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601) of each pixel, (k, d / 3) float64.
    """
    colours = rows.astype(np.float64).reshape(len(rows), len(LUMINANCE), -1)
    luminance: np.ndarray = np.einsum("c,kcp->kp", LUMINANCE, colours)
    return luminance


def openml_digest(config: OpenmlConfig) -> str:
    """Return the SHA-256 that `OpenmlConfig.sha256` pins.

    Raises:
        ValueError: the samples cannot be downloaded, or n is larger than the data set.
    """
    return _sha256(*_samples(config))


def _archive(config: OpenmlConfig) -> Archive:
    if not config.cache:
        raise ValueError("cache is empty: give the folder of downloads, data.cache=FOLDER")
    return Archive(Path(config.cache) / f"{config.name}.npz", config.data_id)


def _samples(config: OpenmlConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return raw samples (k, d) and labels -1 and 1 (k,), the held-out ones last."""
    images = _archive(config).images(config.classes)
    return first_of_each(images, config)


def _sha256(rows: np.ndarray, y: np.ndarray) -> str:
    return hashlib.sha256(rows.astype("<f8").tobytes() + y.astype("<f8").tobytes()).hexdigest()
