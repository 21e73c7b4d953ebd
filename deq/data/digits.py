"""Handwritten digits bundled with scikit-learn."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from deq.data.config import DigitsConfig
from deq.data.two_classes import check_enough, first_of_each

# Pixels of an image, and number of images of each digit.
PIXELS = 64
COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)


def check_digits(config: DigitsConfig) -> None:
    """Check that the data set has enough samples, without reading it.

    Raises:
        ValueError: n is larger than the data set.
    """
    counts = [COUNTS[digit] for digit in config.classes]
    check_enough(config, counts)


def read_digits(config: DigitsConfig) -> tuple[np.ndarray, np.ndarray]:
    """Read images (k, 64) and labels y (k,), the held-out ones last.

    Raises:
        ValueError: k is larger than the data set.
    """
    table = _table()
    images = {digit: table[table[:, -1] == digit, :-1] for digit in config.classes}
    return first_of_each(images, config)


def _table() -> np.ndarray:
    """Read a row for each image, its pixels and its label.

    Read from scikit-learn's file directly, because importing scikit-learn takes a second.
    """
    package = importlib.util.find_spec("sklearn")
    assert package is not None, "scikit-learn is not installed"
    assert package.origin is not None
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        return np.loadtxt(file, delimiter=",")
