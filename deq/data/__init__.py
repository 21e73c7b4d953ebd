"""Data sets: inputs as columns of norm sqrt(d), and targets."""

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
]


def load(config: DataConfig) -> "Dataset":
    """The data set of a config, checked.

    Raises:
        ValueError: it cannot be had, or cannot be used for training: too few samples,
            values that are not finite, zero columns or parallel columns; the message
            names them.
    """
    from deq.data.dataset import Dataset, normalised
    from deq.data.digits import read_digits
    from deq.data.npz import read_npz
    from deq.data.openml import read_openml
    from deq.data.sphere import draw_sphere

    if isinstance(config, DigitsConfig):
        x, y = read_digits(config)
    elif isinstance(config, SphereConfig):
        x, y = draw_sphere(config)
    elif isinstance(config, NpzConfig):
        x, y = read_npz(config)
    else:
        x, y = read_openml(config)
    return Dataset(x=normalised(x), y=y)


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
