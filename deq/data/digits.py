"""Handwritten digits that come with scikit-learn: real data without a download."""

import numpy as np

from deq.data.config import DigitsConfig
from deq.data.two_classes import check_enough, first_of_each

# Pixels of an image, and images of each digit: known without importing scikit-learn.
PIXELS = 64
COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)


def check_digits(config: DigitsConfig) -> None:
    """Refuse more samples than there are.

    Raises:
        ValueError: n is larger than the data set.
    """
    counts = [COUNTS[digit] for digit in config.classes]
    check_enough(config.name, config.n, config.classes, counts)


def read_digits(config: DigitsConfig) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 64) and labels y (n,).

    Raises:
        ValueError: n is larger than the data set.
    """
    from sklearn.datasets import load_digits  # slow to import, and not every data set needs it

    pixels, labels = load_digits(return_X_y=True)
    images = {digit: pixels[labels == digit] for digit in config.classes}
    return first_of_each(images, config.name, config.n, config.classes)
