"""Misspelt names: the known name that is nearest, for error messages."""

import difflib
from collections.abc import Iterable

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
