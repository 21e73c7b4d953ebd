"""Keys that have a meaning only beside a value of another key.

A trial with such a key and without its meaning is refused (see `deq.TrialConfig`). In a sweep
that compares both values of the other key, as `train.integrator=windows,steps`, the key is for
the trials in which it has its meaning, and the others have its default.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sweeps.config.nested import flatten, updated

Plain = dict[str, Any]

# Key, its default, and whether it has its meaning in a flat trial.
CONDITIONAL_KEYS: list[tuple[str, Any, Callable[[Plain], bool]]] = [
    ("train.integrator_tol", None, lambda flat: flat.get("train.integrator") == "windows"),
    ("train.factor_bias", None, lambda flat: bool(flat.get("data.bias"))),
    ("data.label_seed", 0, lambda flat: flat.get("data.labels", "own") != "own"),
]


def without_meaningless(points: Sequence[Plain]) -> list[Plain]:
    """Set conditional keys to their defaults in the points of a sweep where they mean nothing.

    A key that has no meaning at any point is left as it is: it is refused later, by its own
    message.

    Args:
        points: nested configs, one for each trial.
    """
    flats, changes = [flatten(point) for point in points], [dict[str, Any]() for _ in points]
    for key, default, means in CONDITIONAL_KEYS:
        meaningful = [means(flat) for flat in flats]
        if any(meaningful):
            for flat, change, good in zip(flats, changes, meaningful, strict=True):
                if not good and flat.get(key, default) != default:
                    change[key] = default
    return [
        updated(point, change) if change else point
        for point, change in zip(points, changes, strict=True)
    ]
