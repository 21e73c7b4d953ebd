"""Misspelt names: the known name that is nearest, for error messages."""

import difflib
from collections.abc import Iterable

from sweeps.config.config_files import groups

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


# Least likeness of a name to what was typed, from 0 to 1: of the whole, of its last part, and of
# the whole where the last parts differ.
_LEAST, _LEAST_LEAF, _LEAST_ALONE = 0.5, 0.6, 0.8


def nearest(key: str, known: Iterable[str], *, none: str = "`sweeps show` prints all keys") -> str:
    """End of an error message: the known name that is nearest to a misspelt one.

    Args:
        key: the misspelt name.
        known: all names; `data.name` and the like are not proposed, as a group is chosen from.
        none: the end where no name is near.
    """
    no_keys = {f"{group}.name" for group in groups()}
    near = [name for name in known if name not in no_keys and _is_near(key, name)]
    other = [OTHER_NAMES[key]] if key in OTHER_NAMES else []
    close = other or difflib.get_close_matches(key, near, n=1, cutoff=_LEAST)
    return f": did you mean {close[0]!r}?" if close else f": {none}"


def _is_near(key: str, name: str) -> bool:
    """Return whether a name may be meant: what it shares with all of its section does not count."""
    (section, leaf), (other, other_leaf) = _split(key), _split(name)
    if _likeness(leaf, other_leaf) >= _LEAST_LEAF:
        return True
    return section != other and _likeness(key, name) >= _LEAST_ALONE


def _split(name: str) -> tuple[str, str]:
    """Section and last part of a key, or of a metric."""
    section, _, leaf = name.replace("/", ".").rpartition(".")
    return section, leaf


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
