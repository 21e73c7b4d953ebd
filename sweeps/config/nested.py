"""Nested dicts: flatten, look up, update; and short texts for messages."""

import difflib
from collections.abc import Iterable
from typing import Any

from sweeps.errors import ConfigError
from sweeps.redaction import without_secrets


def flatten(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A flat dict whose keys are the nested keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def overlap(one: str, other: str) -> bool:
    """Whether two dotted keys are equal, or one contains the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def one_line(error: BaseException) -> str:
    """Type and text of an error, in one line and without secrets."""
    return without_secrets(" ".join(f"{type(error).__name__}: {error}".split()))


def format_bytes(count: float) -> str:
    """A number of bytes with three digits and a unit, e.g. "1.5 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def count_noun(count: int, noun: str) -> str:
    """A count with its noun: "1 trial", "2 trials"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def percent(value: float) -> str:
    """A percentage with two significant digits, and never as a power of ten."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


# Names that other libraries have for our keys.
OTHER_NAMES = {
    "cluster.cpus": "cluster.cpus_per_trial",
    "cluster.gpus": "cluster.gpus_per_trial",
    "cluster.memory": "cluster.memory_gb_per_trial",
    "cluster.num_workers": "cluster.cpus_per_trial",
    "cluster.retries": "cluster.max_retries",
    "cluster.timeout": "cluster.trial_timeout",
    "cluster.workers": "cluster.cpus_per_trial",
    "data.size": "data.n",
    "model.hidden_size": "model.width",
    "search.n_trials": "search.samples",
    "search.num_samples": "search.samples",
    "search.trials": "search.samples",
    "solver.max_iter": "solver.max_steps",
    "train.epochs": "train.steps",
    "train.learning_rate": "train.eta",
    "train.lr": "train.eta",
}


def nearest(key: str, known: Iterable[str], *, none: str = "`sweeps show` prints all keys") -> str:
    """End of an error message: the known name that is nearest to a misspelt one.

    Args:
        key: the misspelt name.
        known: all names.
        none: the end where no name is near.
    """
    other = [OTHER_NAMES[key]] if key in OTHER_NAMES else []
    close = other or difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else f": {none}"


def updated(plain: dict[Any, Any], values: dict[str, Any]) -> dict[Any, Any]:
    """A copy of plain data with new values at these dotted keys.

    A mapping sets the keys in it and leaves the others, as when Hydra merges it.

    Raises:
        ConfigError: there is no such key.
    """
    changed = dict(plain)
    for key, value in flatten(values).items():
        value_at(changed, key)
        *path, leaf = key.split(".")
        place = changed
        for part in path:  # a deep copy of thousands of configs would be slow
            place[part] = dict(place[part])
            place = place[part]
        place[leaf] = value
    return changed


def value_at(plain: dict[Any, Any], key: str) -> Any:
    """The value at a dotted key of plain data.

    Raises:
        ConfigError: there is no such key.
    """
    place: Any = plain
    for part in key.split("."):
        if not isinstance(place, dict) or part not in place:
            raise ConfigError(f"no key {key!r} to sweep{nearest(key, flatten(plain))}", key=key)
        place = place[part]
    return place
