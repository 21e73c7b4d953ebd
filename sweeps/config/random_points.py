"""Random search: points that are drawn before anything is trained."""

import random
from typing import Any

from sweeps.config.search import RandomConfig


def random_points(config: RandomConfig) -> list[dict[str, Any]]:
    """Points of a random search, each with a value for every key of the space.

    Every key has its own stream of random numbers. So another dimension, or more samples,
    leave the values that were drawn before unchanged.
    """
    streams = {key: random.Random(f"{config.seed}/{key}") for key in config.space}  # noqa: S311
    return [
        {key: dimension.at(streams[key].random()) for key, dimension in config.space.items()}
        for _ in range(config.samples)
    ]
