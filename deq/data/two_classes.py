"""Images of two classes: which samples are taken, their labels, and the centring."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def first_of_each(
    images: Mapping[int, np.ndarray], name: str, n: int, classes: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The first n/2 images of each class (n, d), and labels -1 and 1 (n,) in float64.

    The first class has one image more when n is odd.

    Args:
        images: of each class (count, d), in the data set's order.
        name: the data set's, for messages.
        n: how many images in all.
        classes: which two.

    Raises:
        ValueError: a class has fewer images.
    """
    wanted = ((n + 1) // 2, n // 2)
    for label, count in zip(classes, wanted, strict=True):
        found = len(images[label])
        if found < count:
            raise ValueError(
                f"data.n={n} is larger than the data set: {name} has "
                f"{found} samples of class {label}, so n is at most {2 * found}"
            )
    chosen = [images[label][:count] for label, count in zip(classes, wanted, strict=True)]
    return np.concatenate(chosen), np.repeat([-1.0, 1.0], wanted)


def centred(rows: np.ndarray) -> Tensor:
    """Images as columns (d, n), float64, the mean image subtracted.

    Pixels are not negative, so raw images lie in a narrow cone about their mean: one
    eigenvalue of the Gram matrix would dwarf the others, and every rate with them.
    """
    x = torch.tensor(rows.T, dtype=torch.float64)
    return x - x.mean(dim=1, keepdim=True)
