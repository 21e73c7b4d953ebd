"""What a sweep says before it trains: at its beginning, and of a search's next round."""

from collections.abc import Collection

from sweeps.config.nested import count_noun
from sweeps.planning.plan import Plan
from sweeps.search.summary import SearchSummary
from sweeps.storage.record import ResultKey


def announcement(planned: Plan) -> str:
    """What is known of a sweep's trials, and what is to train."""
    total = len(planned.trials)
    trials = count_noun(total, "trial")
    if planned.left == 0 and not planned.failed:
        all_ = f"all {trials}" if total > 1 else "its trial"
        return f"Sweep {planned.sweep}: nothing to do, {all_} finished before."
    parts = [trials, f"{len(planned.finished)} finished before"]
    if planned.failed:
        parts.append(f"{len(planned.failed)} failed before (--retry-failed tries them again)")
    parts.append(f"{planned.left} to train")
    if planned.more:
        parts.append(f"at most {planned.more} more by what they say")
    return f"Sweep {planned.sweep}: {', '.join(parts)}."


def next_round(planned: Plan, found: SearchSummary | None) -> str:
    """What a search's next round is, and what it has found so far."""
    more = f", at most {planned.more} more" if planned.more else ""
    said = f"{len(planned.trials)} trials so far, {planned.left} to train{more}"
    return f"{said}. {found.brief}" if found else said


def without_weights(planned: Plan, held: Collection[ResultKey]) -> list[str]:
    """Lines on a plan's finished trials whose weights were not kept.

    Args:
        planned: the plan.
        held: keys of the results that have weights.
    """
    hashes = {key.config_hash for key in held if key.stopped_in in ("", planned.sweep)}
    bare = planned.finished - hashes
    if not bare:
        return []
    trials = "1 finished trial was" if len(bare) == 1 else f"{len(bare)} finished trials were"
    return [f"{trials} recorded without weights: --force trains finished trials again."]
