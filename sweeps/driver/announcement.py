"""Lines that a sweep prints before it trains, and before a search's next round."""

from collections.abc import Collection

from sweeps.config.nested import counted
from sweeps.planning.plan import Plan
from sweeps.search.summary import Findings


def announcement(planned: Plan) -> str:
    """Return one line: how many trials a sweep has, and how many of them will be trained."""
    total = len(planned.trials)
    trials = counted(total, "trial")
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


def next_round(planned: Plan, findings: Findings | None) -> str:
    """Return one line on a search's next round, and on what the search has found so far."""
    more = f", at most {planned.more} more" if planned.more else ""
    counts = f"{len(planned.trials)} trials so far, {planned.left} to train{more}"
    return f"{counts}. {findings.brief}" if findings else counts


def missing_weights(planned: Plan, with_weights: Collection[str]) -> list[str]:
    """Return a line on the plan's finished trials whose weights were not kept, if there are any.

    Args:
        planned: the plan.
        with_weights: the trials that have weights, each as `HASH` or `HASH@SWEEP`.
    """
    kept = set(with_weights)
    lacking = [h for h in planned.finished if not {h, f"{h}@{planned.sweep}"} & kept]
    if not lacking:
        return []
    trials = counted(len(lacking), "finished trial") + (" was" if len(lacking) == 1 else " were")
    return [f"{trials} recorded without weights: --force trains finished trials again."]
