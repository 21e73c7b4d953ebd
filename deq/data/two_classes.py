"""Images of two classes: which samples are taken, their labels, and the centring."""

from collections.abc import Mapping, Sequence

import numpy as np


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
    check_enough(name, n, classes, [len(images[label]) for label in classes])
    chosen = [images[label][:count] for label, count in zip(classes, wanted, strict=True)]
    return np.concatenate(chosen), np.repeat([-1.0, 1.0], wanted)


def check_enough(name: str, n: int, classes: Sequence[int], counts: Sequence[int]) -> None:
    """Refuse more samples than the two classes have.

    Args:
        name: the data set's, for the message.
        n: how many samples in all.
        classes: which two.
        counts: samples of each.

    Raises:
        ValueError: a class has fewer samples than half of n, or n is below 3: the mean
            sample is subtracted, which leaves one image zero and two parallel.
    """
    if n < 3:
        raise ValueError(f"data.n={n}: the images are centred, so n must be at least 3")
    for label, count, wanted in zip(classes, counts, ((n + 1) // 2, n // 2), strict=True):
        if count < wanted:
            raise ValueError(
                f"data.n={n} is larger than the data set: {name} has "
                f"{count} samples of class {label}, so n is at most {2 * count}"
            )
