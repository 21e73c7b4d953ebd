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
    """Load and check a data set.

    Returns:
        x (d, n) with columns of norm sqrt(d), and y (n,), both float64.

    Raises:
        ValueError: it cannot be read or downloaded, or has too few samples, values that
            are not finite, zero columns or parallel columns; the message names them.
    """
    import torch

    from deq.data.dataset import Dataset, centre, normalise
    from deq.data.sphere import draw_sphere

    if isinstance(config, SphereConfig):
        x, y = draw_sphere(config)
        return Dataset(normalise(x), y)
    values, labels = _arrays(config)
    x = torch.from_numpy(values) if isinstance(config, NpzConfig) else centre(values)
    with _naming_file(config):
        return Dataset(normalise(x), torch.tensor(labels))


def shape_of(config: DataConfig) -> tuple[int, int]:
    """Return (d, n) of a data set after the checks of `load`, without importing torch.

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
    with _naming_file(config):
        check_columns(x)
    d, n = x.shape
    return d, n


def digest(config: NpzConfig | OpenmlConfig) -> str:
    """Return the SHA-256 that a config's `sha256` pins, 64 hex digits.

    For an .npz file that of its bytes, for OpenML that of the samples (see `OpenmlConfig`).

    Raises:
        ValueError: the data cannot be read or downloaded.
    """
    if isinstance(config, NpzConfig):
        from deq.data.npz import npz_digest

        return npz_digest(config)
    from deq.data.openml import openml_digest

    return openml_digest(config)


@contextlib.contextmanager
def _naming_file(config: DataConfig) -> Iterator[None]:
    """Add the path of a user's own file to errors raised inside."""
    try:
        yield
    except ValueError as error:
        where = f"data.path={config.path}: " if isinstance(config, NpzConfig) else ""
        raise ValueError(f"{where}{error}") from error


def _arrays(config: DigitsConfig | NpzConfig | OpenmlConfig) -> "tuple[np.ndarray, np.ndarray]":
    """Return inputs as they are stored, (d, n) of a file or images (n, d), and labels (n,)."""
    if isinstance(config, DigitsConfig):
        from deq.data.digits import read_digits

        return read_digits(config)
    if isinstance(config, NpzConfig):
        from deq.data.npz import read_npz

        return read_npz(config)
    from deq.data.openml import read_openml

    return read_openml(config)
