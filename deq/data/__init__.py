"""Data sets: inputs as columns of norm sqrt(d), and targets."""

from deq.data.dataset import Dataset, normalised
from deq.data.digits import DigitsConfig, read_digits
from deq.data.npz import NpzConfig, npz_digest, read_npz
from deq.data.openml import Cifar10Config, MnistConfig, OpenmlConfig, openml_digest, read_openml
from deq.data.sphere import SphereConfig, draw_sphere

__all__ = [
    "Cifar10Config",
    "DataConfig",
    "Dataset",
    "DigitsConfig",
    "MnistConfig",
    "NpzConfig",
    "OpenmlConfig",
    "SphereConfig",
    "digest",
    "load",
]

DataConfig = DigitsConfig | SphereConfig | NpzConfig | MnistConfig | Cifar10Config


def load(config: DataConfig) -> Dataset:
    """The data set of a config, checked.

    Raises:
        ValueError: it cannot be had, or cannot be used for training: too few samples,
            values that are not finite, zero columns or parallel columns; the message
            names them.
    """
    if isinstance(config, DigitsConfig):
        x, y = read_digits(config)
    elif isinstance(config, SphereConfig):
        x, y = draw_sphere(config)
    elif isinstance(config, NpzConfig):
        x, y = read_npz(config)
    else:
        x, y = read_openml(config)
    try:
        return Dataset(x=normalised(x), y=y)
    except ValueError as error:
        where = f"data.path={config.path}: " if isinstance(config, NpzConfig) else ""
        raise ValueError(f"{where}{error}") from error


def digest(config: NpzConfig | OpenmlConfig) -> str:
    """SHA-256 of a data set that lies in files; what its config's `sha256` pins.

    Of an .npz file, its bytes; of OpenML's sets, the samples (see `OpenmlConfig`).

    Raises:
        ValueError: the data cannot be read, or not downloaded.
    """
    return npz_digest(config) if isinstance(config, NpzConfig) else openml_digest(config)
