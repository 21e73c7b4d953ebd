"""Points drawn at random, known before anything is trained: a set of trials like a grid."""

import random
from typing import Any

from sweeps.config.search import RandomConfig


def random_points(config: RandomConfig) -> list[dict[str, Any]]:
    """The points, each a value for every key of the space.

    Every key has a stream of its own, so another dimension, or more samples, moves no
    value that was drawn before.
    """
    streams = {key: random.Random(f"{config.seed}/{key}") for key in config.space}  # noqa: S311
    return [
        {key: dimension.at(streams[key].random()) for key, dimension in config.space.items()}
        for _ in range(config.samples)
    ]
