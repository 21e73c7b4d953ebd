"""Selection of the samples of two classes, with labels -1 and 1."""

from collections.abc import Mapping, Sequence

import numpy as np

from deq.data.config import DigitsConfig, OpenmlConfig


def first_of_each(
    images: Mapping[int, np.ndarray], config: DigitsConfig | OpenmlConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first images of each class (k, d), and labels -1 and 1 (k,) in float64.

    `n` takes the first n/2 images of each class, and then `test_n` the next ones; the first class
    has one more where a number is odd.

    Args:
        images: those of each class (count, d), in the data set's order.
        config: of the data set.

    Raises:
        ValueError: a class has too few images.
    """
    check_enough(config, [len(images[label]) for label in config.classes])
    taken, chosen, labels = [0, 0], [], []
    for wanted in map(_halves, (config.n, config.test_n)):
        for k, label in enumerate(config.classes):
            chosen.append(images[label][taken[k] : taken[k] + wanted[k]])
            taken[k] += wanted[k]
        labels.append(np.repeat([-1.0, 1.0], wanted))
    return np.concatenate(chosen), np.concatenate(labels)


def _halves(n: int) -> tuple[int, int]:
    """Return how many of n samples are of the first and of the second class."""
    return (n + 1) // 2, n // 2


def check_enough(config: DigitsConfig | OpenmlConfig, counts: Sequence[int]) -> None:
    """Check that two classes have enough samples.

    Args:
        config: of the data set.
        counts: number of samples of each class.

    Raises:
        ValueError: a class has too few samples, or n is below 3 and the images are centred:
            with the mean subtracted one sample is zero and two are parallel.
    """
    name, n, test_n = config.name, config.n, config.test_n
    if config.centred and n < 3:
        raise ValueError(f"data.n={n}: the images are centred, so n must be at least 3")
    both = zip(*map(_halves, (n, test_n)), strict=True)
    for label, count, wanted in zip(config.classes, counts, map(sum, both), strict=True):
        if count < wanted:
            keys = f"data.n={n} and data.test_n={test_n} are" if test_n else f"data.n={n} is"
            most = "they are at most" if test_n else "n is at most"
            raise ValueError(
                f"{keys} larger than the data set: {name} has {count} samples of class {label}, "
                f"so {most} {2 * count}{' together' if test_n else ''}"
            )
