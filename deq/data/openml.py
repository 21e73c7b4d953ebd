"""MNIST and CIFAR-10 of OpenML: two classes, as Ling et al. train on."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from deq.data.archive import Archive
from deq.data.dataset import check_n
from deq.data.two_classes import centred, check_classes, first_of_each


@dataclass(frozen=True)
class OpenmlConfig:
    """Two classes of a set of images that OpenML keeps; labels -1 and 1.

    As for `digits`: the first n/2 samples of each class in OpenML's order (the first
    class has one more when n is odd), centred (the mean sample subtracted, because pixels
    are not negative), each normalised to norm sqrt(d). The defaults are the 500 images of
    each class 0 and 1 of Ling et al., who say of their inputs that they are normalised
    and do not speak of centring.

    Attributes:
        name: the data set.
        n: how many samples of the two classes together.
        classes: which two; the second is labelled 1.
        cache: the folder of downloads. Where it lies is not part of an experiment's
            identity. `sweeps` fills in `data` under its output root.
        sha256: SHA-256 of the n samples before centring and normalisation, sample by
            sample, then of the n labels, all as little-endian float64; filled in when the
            trial is composed, and checked when the samples are loaded.
    """

    name: str = ""
    n: int = 1000
    classes: tuple[int, int] = (0, 1)
    cache: str = field(default="", metadata={"identity": False})
    sha256: str = ""

    data_id: ClassVar[int]

    def __post_init__(self) -> None:
        """Refuse classes that are not two different ones of the ten."""
        check_n(self.n)
        check_classes(self.classes)


@dataclass(frozen=True)
class MnistConfig(OpenmlConfig):
    """MNIST: handwritten digits, 28 x 28, d = 784 (OpenML's mnist_784, version 1)."""

    name: Literal["mnist"] = "mnist"

    data_id: ClassVar[int] = 554


@dataclass(frozen=True)
class Cifar10Config(OpenmlConfig):
    """CIFAR-10: photographs, 32 x 32 in three colours, d = 3072 (OpenML's CIFAR_10)."""

    name: Literal["cifar10"] = "cifar10"

    data_id: ClassVar[int] = 40927


def read_openml(config: OpenmlConfig) -> tuple[Tensor, Tensor]:
    """Centred images x (d, n) and labels y (n,); downloaded when the cache lacks them.

    Raises:
        ValueError: they cannot be had, n is larger than the data set, or they are not
            the samples of `sha256`.
    """
    rows, y = _samples(config)
    found = _sha256(rows, y)
    if config.sha256 and config.sha256 != found:
        raise ValueError(
            f"{_archive(config).path} does not hold the samples of this config: their SHA-256 "
            f"is {found[:12]}..., not {config.sha256[:12]}...; remove it to download anew"
        )
    return centred(rows), torch.tensor(y)


def openml_digest(config: OpenmlConfig) -> str:
    """What `OpenmlConfig.sha256` pins, of the samples as they are.

    Raises:
        ValueError: the samples cannot be had, or n is larger than the data set.
    """
    return _sha256(*_samples(config))


def _archive(config: OpenmlConfig) -> Archive:
    if not config.cache:
        raise ValueError("cache is empty: give the folder of downloads, data.cache=FOLDER")
    return Archive(Path(config.cache) / f"{config.name}.npz", config.data_id)


def _samples(config: OpenmlConfig) -> tuple[np.ndarray, np.ndarray]:
    """Raw samples (n, d) and labels -1 and 1 (n,)."""
    images = _archive(config).images(config.classes)
    return first_of_each(images, config.name, config.n, config.classes)


def _sha256(rows: np.ndarray, y: np.ndarray) -> str:
    found = hashlib.sha256(rows.astype("<f8").tobytes())
    found.update(y.astype("<f8").tobytes())
    return found.hexdigest()
