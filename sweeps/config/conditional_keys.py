"""Keys that have a meaning only beside a value of another key.

A trial with such a key and without its meaning is refused (see `deq.TrialConfig`). In a sweep
that compares both values of the other key, as `train.integrator=windows,steps`, the key is for
the trials in which it has its meaning, and the others have its default.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sweeps.config.nested import updated

Plain = dict[str, Any]


def _value(point: Plain, key: str, default: Any) -> Any:
    """Return the value at GROUP.KEY in a nested config; the default if it is not there."""
    group, _, leaf = key.partition(".")
    values = point.get(group)
    return values.get(leaf, default) if isinstance(values, dict) else default


# Key, its default, and whether it has its meaning in a trial.
CONDITIONAL_KEYS: list[tuple[str, Any, Callable[[Plain], bool]]] = [
    ("train.integrator_tol", None, lambda p: _value(p, "train.integrator", "") == "windows"),
    ("train.factor_bias", None, lambda p: bool(_value(p, "data.bias", 0))),
    ("data.label_seed", 0, lambda p: _value(p, "data.labels", "own") != "own"),
]


def without_meaningless(points: Sequence[Plain]) -> list[Plain]:
    """Set conditional keys to their defaults in the points of a sweep where they mean nothing.

    A key that has no meaning at any point is left as it is: it is refused later, by its own
    message.

    Args:
        points: nested configs, one for each trial.
    """
    result = list(points)
    for key, default, means in CONDITIONAL_KEYS:
        meaningful = [means(point) for point in result]
        if any(meaningful):
            result = [
                point
                if good or _value(point, key, default) == default
                else updated(point, {key: default})
                for point, good in zip(result, meaningful, strict=True)
            ]
    return result
