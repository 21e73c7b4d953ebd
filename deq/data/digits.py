"""Handwritten digits that come with scikit-learn: real data without a download."""

import torch
from torch import Tensor

from deq.data.config import DigitsConfig
from deq.data.two_classes import centred, first_of_each


def read_digits(config: DigitsConfig) -> tuple[Tensor, Tensor]:
    """Centred images x (d, n) and labels y (n,).

    Raises:
        ValueError: n is larger than the data set.
    """
    from sklearn.datasets import load_digits  # slow to import, and not every data set needs it

    pixels, labels = load_digits(return_X_y=True)
    images = {digit: pixels[labels == digit] for digit in config.classes}
    rows, y = first_of_each(images, config.name, config.n, config.classes)
    return centred(rows), torch.tensor(y)
