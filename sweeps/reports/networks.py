"""Group trials by their network at step 0, by its kernel, or by its random numbers.

Trials that differ in their step size only begin with one network, and statistics of networks count
it once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.config.nested import flatten
from sweeps.planning.outcomes import TrialOutcome

# Prefixes of the config keys that determine the kernel of infinite width.
OF_KERNEL = ("data.", "model.activation", "model.sigma_w2")
# Prefixes of the config keys that determine a network at step 0.
OF_NETWORK = ("data.", "model.", "seed")
# Config keys that determine the random numbers of a network: several activations may share them.
OF_DRAW = ("data.", "model.width", "seed")


def key_of(plain: Mapping[str, Any], prefixes: tuple[str, ...], *without: str) -> str:
    """Return a text that is equal for trials of one network, or of one kernel, only.

    Args:
        plain: a trial's config, values by dotted key.
        prefixes: OF_NETWORK, OF_KERNEL or OF_DRAW.
        without: keys that are left out, such as the width, to group networks that differ in it.
    """
    kept = {k: v for k, v in plain.items() if k.startswith(prefixes) and k not in without}
    return repr(sorted(kept.items()))


def once(outcomes: Sequence[TrialOutcome], prefixes: tuple[str, ...]) -> list[TrialOutcome]:
    """Return the first trial with a result of each network, or of each kernel."""
    first: dict[str, TrialOutcome] = {}
    for outcome in outcomes:
        if outcome.summary:
            first.setdefault(key_of(flatten(outcome.planned.plain), prefixes), outcome)
    return list(first.values())
