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
    from torch import Tensor

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
        x (d, n) with columns of norm sqrt(d), and y (n,), both float64, and as `test` the
        held-out samples (see `test_n`).

    Raises:
        ValueError: it cannot be read or downloaded, or has too few samples, values that
            are not finite, zero columns or parallel columns; the message names them.
    """
    import torch

    from deq.data.dataset import centre
    from deq.data.sphere import draw_sphere

    if isinstance(config, SphereConfig):
        return _split(*draw_sphere(config), config.test_n)
    values, labels = _arrays(config)
    n = len(labels) - config.test_n
    x = torch.from_numpy(values) if isinstance(config, NpzConfig) else centre(values, n)
    with _naming_file(config):
        return _split(x, torch.tensor(labels), config.test_n)


def _split(x: "Tensor", y: "Tensor", test_n: int) -> "Dataset":
    """Check and scale samples x (d, k), of which the last `test_n` are held out."""
    from deq.data.columns import check_nonzero
    from deq.data.dataset import Dataset, normalise, scale

    n = len(y) - test_n
    if not test_n:
        return Dataset(normalise(x), y)
    held_out = x[:, n:].clone()
    check_nonzero(held_out.numpy(), n)
    train = normalise(x[:, :n].clone())  # in x's memory order, so that norms are rounded alike
    return Dataset(train, y[:n].clone(), Dataset(scale(held_out), y[n:].clone()))


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
    from deq.data.columns import check_columns, check_nonzero

    values, labels = _arrays(config)
    n = len(labels) - config.test_n
    x = values if isinstance(config, NpzConfig) else (values - values[:n].mean(axis=0)).T
    with _naming_file(config):
        check_nonzero(x[:, n:], n)
        check_columns(x[:, :n])
    return x.shape[0], n


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
    """Return inputs as they are stored, (d, k) of a file or images (k, d), and labels (k,).

    The held-out samples are the last of the k.
    """
    if isinstance(config, DigitsConfig):
        from deq.data.digits import read_digits

        return read_digits(config)
    if isinstance(config, NpzConfig):
        from deq.data.npz import read_npz

        return read_npz(config)
    from deq.data.openml import read_openml

    return read_openml(config)
