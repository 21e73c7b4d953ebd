"""Selection of the samples of two classes, with labels -1 and 1."""

from collections.abc import Mapping, Sequence

import numpy as np


def first_of_each(
    images: Mapping[int, np.ndarray], name: str, numbers: Sequence[int], classes: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first images of each class (k, d), and labels -1 and 1 (k,) in float64.

    Each number n takes the next n/2 images of each class; the first class has one more if n is odd.

    Args:
        images: those of each class (count, d), in the data set's order.
        name: the data set's, for messages.
        numbers: of images of both classes together: for training, and held out.
        classes: the two classes.

    Raises:
        ValueError: a class has too few images.
    """
    check_enough(name, numbers, classes, [len(images[label]) for label in classes])
    taken, chosen, labels = [0, 0], [], []
    for wanted in map(_halves, numbers):
        for k, label in enumerate(classes):
            chosen.append(images[label][taken[k] : taken[k] + wanted[k]])
            taken[k] += wanted[k]
        labels.append(np.repeat([-1.0, 1.0], wanted))
    return np.concatenate(chosen), np.concatenate(labels)


def _halves(n: int) -> tuple[int, int]:
    """Return how many of n samples are of the first and of the second class."""
    return (n + 1) // 2, n // 2


def check_enough(
    name: str, numbers: Sequence[int], classes: Sequence[int], counts: Sequence[int]
) -> None:
    """Check that two classes have enough samples.

    Args:
        name: the data set's, for messages.
        numbers: of samples of both classes together: for training, and held out.
        classes: the two classes.
        counts: number of samples of each.

    Raises:
        ValueError: a class has too few samples, or n is below 3: with the mean subtracted
            one sample is zero and two are parallel.
    """
    n, test_n = numbers
    if n < 3:
        raise ValueError(f"data.n={n}: the images are centred, so n must be at least 3")
    both = zip(*map(_halves, numbers), strict=True)
    for label, count, wanted in zip(classes, counts, map(sum, both), strict=True):
        if count < wanted:
            keys = f"data.n={n} and data.test_n={test_n} are" if test_n else f"data.n={n} is"
            most = "they are at most" if test_n else "n is at most"
            raise ValueError(
                f"{keys} larger than the data set: {name} has {count} samples of class {label}, "
                f"so {most} {2 * count}{' together' if test_n else ''}"
            )
