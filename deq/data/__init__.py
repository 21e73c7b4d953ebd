"""Data sets: inputs as columns of one norm, sqrt(d) by default, and targets."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from deq.data.config import (
    Cifar10Config,
    DataConfig,
    DigitsConfig,
    MnistConfig,
    NpzConfig,
    OpenmlConfig,
    OrthonormalConfig,
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
    "OrthonormalConfig",
    "SphereConfig",
    "digest",
    "load",
    "shape_of",
]


def load(config: DataConfig) -> "Dataset":
    """Load and check a data set.

    Returns:
        x (d, n) with columns of norm sqrt(d) times `config.norm`, and below them a row of
        `config.bias` where it is not 0; y (n,); both float64. As `test` the held-out samples
        (see `test_n`).

    Raises:
        ValueError: it cannot be read or downloaded, or has too few samples, values that
            are not finite, zero columns or parallel columns; the message names them.
    """
    import torch

    from deq.data.dataset import columns_of

    if isinstance(config, SphereConfig | OrthonormalConfig):
        return _split(*_drawn(config), config)
    values, labels = _arrays(config)
    n = len(labels) - config.test_n
    if isinstance(config, NpzConfig):
        x = torch.from_numpy(values)
    else:
        x = columns_of(values, n, centred=config.centred)
    with _naming_file(config):
        return _split(x, torch.tensor(labels), config)


def _drawn(config: SphereConfig | OrthonormalConfig) -> "tuple[Tensor, Tensor]":
    """Return the directions x (d, k) and targets y (k,) of a synthetic data set."""
    from deq.data.orthonormal import draw_orthonormal
    from deq.data.sphere import draw_sphere

    return draw_sphere(config) if isinstance(config, SphereConfig) else draw_orthonormal(config)


def _split(x: "Tensor", y: "Tensor", config: DataConfig) -> "Dataset":
    """Check and scale samples x (d, k), of which the last `config.test_n` are held out."""
    from deq.data.columns import check_nonzero
    from deq.data.dataset import normalise, scale
    from deq.data.labels import uniform_labels

    if config.labels == "uniform":
        y = uniform_labels(config.label_seed, (len(y) - config.test_n, config.test_n))
    n, norm = len(y) - config.test_n, config.norm
    if not config.test_n:
        return _labelled(normalise(x, norm), y, config)
    held_out = x[:, n:].clone()
    check_nonzero(held_out.numpy(), n)
    train = normalise(x[:, :n].clone(), norm)  # in x's memory order: norms are rounded alike
    test = _labelled(scale(held_out, norm), y[n:].clone(), config)
    return replace(_labelled(train, y[:n].clone(), config), test=test)


def _labelled(x: "Tensor", y: "Tensor", config: DataConfig) -> "Dataset":
    """Return scaled inputs with their targets, y or those of a single-index model, and bias."""
    from deq.data.dataset import Dataset, with_bias
    from deq.data.labels import single_index_labels

    if config.labels == "single_index":
        y = single_index_labels(config.label_seed, x)
    return Dataset(with_bias(x, config.bias), y)


def shape_of(config: DataConfig) -> tuple[int, int]:
    """Return (d, n) of a data set after the checks of `load`, without importing torch.

    Raises:
        ValueError: as `load`.
    """
    d, n = _shape_without_bias(config)
    return d + (config.bias > 0), n


def _shape_without_bias(config: DataConfig) -> tuple[int, int]:
    """Return the shape of the inputs without the one that `bias` adds."""
    if isinstance(config, SphereConfig | OrthonormalConfig):
        return config.d, config.n
    if isinstance(config, DigitsConfig):
        from deq.data.digits import PIXELS, check_digits

        check_digits(config)
        return PIXELS, config.n
    from deq.data.columns import check_columns, check_nonzero

    values, labels = _arrays(config)
    n = len(labels) - config.test_n
    x = values if isinstance(config, NpzConfig) else values.T
    if not isinstance(config, NpzConfig) and config.centred:
        x = x - x[:, :n].mean(axis=1, keepdims=True)
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
