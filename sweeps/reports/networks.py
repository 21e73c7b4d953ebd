"""Which trials begin with one network, and which networks have one kernel.

Trials that differ in their step size begin with one network: statistics of networks count it
once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.config.nested import flatten
from sweeps.planning.outcomes import TrialOutcome

# Keys of the config of the infinitely wide network, and of a network.
OF_KERNEL = ("data.", "model.activation", "model.sigma_w2")
OF_NETWORK = ("data.", "model.", "seed")
# Networks that differ in other keys, as in their activation, are made of the same random numbers.
OF_DRAW = ("data.", "model.width", "seed")


def key_of(plain: Mapping[str, Any], prefixes: tuple[str, ...], *without: str) -> str:
    """Return what trials of one network, or of one kernel, have in common.

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
