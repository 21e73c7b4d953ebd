"""Handwritten digits that come with scikit-learn: real data without a download."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from deq.data.dataset import check_n
from deq.data.two_classes import centred, check_classes, first_of_each


@dataclass(frozen=True)
class DigitsConfig:
    """Scikit-learn's bundled handwritten digits: two classes, d = 64, labels -1 and 1.

    The first n/2 samples of each class (the first class has one more when n is odd),
    centred (the mean sample subtracted), each normalised to norm sqrt(d).

    Attributes:
        name: the data set.
        n: how many samples of the two classes together.
        classes: which two; the second is labelled 1.
    """

    name: Literal["digits"] = "digits"
    n: int = 64
    classes: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        """Refuse classes that are not two different digits."""
        check_n(self.n)
        check_classes(self.classes)


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
