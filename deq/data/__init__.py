"""Data sets: inputs as columns of norm sqrt(d), and targets."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deq.data.config import (
    Cifar10Config,
    DataConfig,
    DigitsConfig,
    MnistConfig,
    NpzConfig,
    OpenmlConfig,
    SphereConfig,
)

if TYPE_CHECKING:
    import numpy as np

    from deq.data.dataset import Dataset

__all__ = [
    "Cifar10Config",
    "DataConfig",
    "DigitsConfig",
    "MnistConfig",
    "NpzConfig",
    "OpenmlConfig",
    "SphereConfig",
    "digest",
    "load",
    "shape_of",
]


def load(config: DataConfig) -> "Dataset":
    """The data set of a config, checked.

    Raises:
        ValueError: it cannot be had, or cannot be used for training: too few samples,
            values that are not finite, zero columns or parallel columns; the message
            names them.
    """
    import torch

    from deq.data.dataset import Dataset, centred, normalised
    from deq.data.sphere import draw_sphere

    if isinstance(config, SphereConfig):
        x, y = draw_sphere(config)
        return Dataset(normalised(x), y)
    values, labels = _arrays(config)
    x = torch.from_numpy(values) if isinstance(config, NpzConfig) else centred(values)
    with _named(config):
        return Dataset(normalised(x), torch.tensor(labels))


def shape_of(config: DataConfig) -> tuple[int, int]:
    """(d, n) of a data set, after the checks of `load`; without torch.

    Raises:
        ValueError: as `load`.
    """
    if isinstance(config, SphereConfig):
        return config.d, config.n
    if isinstance(config, DigitsConfig):
        from deq.data.digits import PIXELS, check_digits

        check_digits(config)
        return PIXELS, config.n
    from deq.data.columns import check_columns

    values, _ = _arrays(config)
    x = values if isinstance(config, NpzConfig) else (values - values.mean(axis=0)).T
    with _named(config):
        check_columns(x)
    d, n = x.shape
    return d, n


def digest(config: NpzConfig | OpenmlConfig) -> str:
    """SHA-256 of a data set that lies in files; what its config's `sha256` pins.

    Of an .npz file, its bytes; of OpenML's sets, the samples (see `OpenmlConfig`).

    Raises:
        ValueError: the data cannot be read, or not downloaded.
    """
    if isinstance(config, NpzConfig):
        from deq.data.npz import npz_digest

        return npz_digest(config)
    from deq.data.openml import openml_digest

    return openml_digest(config)


@contextlib.contextmanager
def _named(config: DataConfig) -> Iterator[None]:
    """Name the file of a user's own arrays in what is said of them."""
    try:
        yield
    except ValueError as error:
        where = f"data.path={config.path}: " if isinstance(config, NpzConfig) else ""
        raise ValueError(f"{where}{error}") from error


def _arrays(config: DigitsConfig | NpzConfig | OpenmlConfig) -> "tuple[np.ndarray, np.ndarray]":
    """Arrays of a data set as they are stored: (d, n) of a file, images (n, d); labels (n,)."""
    if isinstance(config, DigitsConfig):
        from deq.data.digits import read_digits

        return read_digits(config)
    if isinstance(config, NpzConfig):
        from deq.data.npz import read_npz

        return read_npz(config)
    from deq.data.openml import read_openml

    return read_openml(config)
