"""Lines that a sweep prints before it trains, and before a search's next round."""

from collections.abc import Collection

from sweeps.config.texts import count_noun
from sweeps.planning.plan import Plan
from sweeps.search.base import SearchSummary
from sweeps.storage.record import ResultKey


def announcement(planned: Plan) -> str:
    """Return one line: how many trials a sweep has, and how many of them will be trained."""
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
        parts.append(f"at most {planned.more} more, depending on their results")
    return f"Sweep {planned.sweep}: {', '.join(parts)}."


def next_round(planned: Plan, summary: SearchSummary | None) -> str:
    """Return one line on a search's next round, and on what the search has found so far."""
    more = f", at most {planned.more} more" if planned.more else ""
    counts = f"{len(planned.trials)} trials so far, {planned.left} to train{more}"
    return f"{counts}. {summary.brief}" if summary else counts


def missing_weights(planned: Plan, with_weights: Collection[ResultKey]) -> list[str]:
    """Return a line on the plan's finished trials whose weights were not kept, if there are any.

    Args:
        planned: the plan.
        with_weights: keys of the results that have weights.
    """
    kept = {key.config_hash for key in with_weights if key.stopped_in in ("", planned.sweep)}
    lacking = planned.finished - kept
    if not lacking:
        return []
    trials = count_noun(len(lacking), "finished trial") + (" was" if len(lacking) == 1 else " were")
    remedy = "`sweeps run` with --force trains finished trials again"
    return [f"{trials} recorded without weights: {remedy}."]
