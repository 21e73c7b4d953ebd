"""Data sets: inputs as columns of norm sqrt(d), and targets."""

from deq.data.dataset import Dataset, normalised
from deq.data.digits import DigitsConfig, read_digits
from deq.data.npz import NpzConfig, npz_digest, read_npz
from deq.data.sphere import SphereConfig, draw_sphere

__all__ = [
    "DataConfig",
    "Dataset",
    "DigitsConfig",
    "NpzConfig",
    "SphereConfig",
    "digest",
    "load",
]

DataConfig = DigitsConfig | SphereConfig | NpzConfig


def load(config: DataConfig) -> Dataset:
    """The data set of a config, checked.

    Raises:
        ValueError: it cannot be used for training: too few samples,
            values that are not finite, zero columns or parallel columns; the message
            names them.
    """
    if isinstance(config, DigitsConfig):
        x, y = read_digits(config)
    elif isinstance(config, SphereConfig):
        x, y = draw_sphere(config)
    else:
        x, y = read_npz(config)
    return Dataset(x=normalised(x), y=y)


def digest(config: NpzConfig) -> str:
    """SHA-256 of the file's bytes; what its config's `sha256` pins.

    Raises:
        ValueError: the file cannot be read.
    """
    return npz_digest(config)
