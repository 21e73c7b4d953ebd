"""Selection of the samples of two classes, with labels -1 and 1."""

from collections.abc import Mapping, Sequence

import numpy as np


def first_of_each(
    images: Mapping[int, np.ndarray], name: str, n: int, classes: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first n/2 images of each class (n, d), and labels -1 and 1 (n,) in float64.

    The first class has one more if n is odd.

    Args:
        images: those of each class (count, d), in the data set's order.
        name: the data set's, for messages.
        n: number of images of both classes together.
        classes: the two classes.

    Raises:
        ValueError: a class has too few images.
    """
    wanted = ((n + 1) // 2, n // 2)
    check_enough(name, n, classes, [len(images[label]) for label in classes])
    chosen = [images[label][:count] for label, count in zip(classes, wanted, strict=True)]
    return np.concatenate(chosen), np.repeat([-1.0, 1.0], wanted)


def check_enough(name: str, n: int, classes: Sequence[int], counts: Sequence[int]) -> None:
    """Check that two classes have enough samples.

    Args:
        name: the data set's, for messages.
        n: number of samples of both classes together.
        classes: the two classes.
        counts: number of samples of each.

    Raises:
        ValueError: a class has too few samples, or n is below 3: with the mean subtracted
            one sample is zero and two are parallel.
    """
    if n < 3:
        raise ValueError(f"data.n={n}: the images are centred, so n must be at least 3")
    for label, count, wanted in zip(classes, counts, ((n + 1) // 2, n // 2), strict=True):
        if count < wanted:
            raise ValueError(
                f"data.n={n} is larger than the data set: {name} has "
                f"{count} samples of class {label}, so n is at most {2 * count}"
            )
