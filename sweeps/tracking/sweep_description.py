"""Description of a finished sweep's MLflow page: the verdict, and a table over groups of seeds."""

import statistics
from collections.abc import Callable, Sequence

from sweeps import report
from sweeps.planning import axes_of
from sweeps.report import Cell, Line, number
from sweeps.search.findings import Findings
from sweeps.tracking.trial_description import BOUND, LINEARIZED, MEASURED, converges, times

HELD = "theory/condition_held"
COLUMNS = {
    "measured rate": MEASURED,
    "measured / linearised": "rate/measured_over_linearized",
    "measured / bound": "rate/measured_over_bound",
}
# Rows of a table; of more groups the report has them all.
MOST_ROWS = 100


def describe(
    command: str, lines: Sequence[Line], links: dict[str, str], found: Findings | None = None
) -> str:
    """A sweep's description, in Markdown; it begins with the verdict."""
    ended = ", ".join(f"{count} {status}" for status, count in report.counts(lines).items())
    blocks = [
        verdict(lines),
        f"**{len(lines)} trials**: {ended}. "
        f"[Charts of them]({links['trials']}), [table of them]({links['table']}).",
        _in_markdown(found),
        _groups(lines),
        "\n".join(_swept(lines)),
        f"Launched by `{command}`; the same command again trains only what is missing. "
        "All trials: `trials.csv` among the artifacts; figures and what was violated: "
        "`report.html`.",
    ]
    return "\n\n".join(block for block in blocks if block)


def verdict(lines: Sequence[Line]) -> str:
    """Measured rates beside what the theory predicts and guarantees, in words."""
    sentences = [_near(lines), _guarantee(lines), _attention(lines)]
    return " ".join(sentence for sentence in sentences if sentence)


def _near(lines: Sequence[Line]) -> str:
    """How the measured rates lie to the linearised ones and to the bound; medians."""
    rated = [line.summary for line in lines if line.finished and MEASURED in line.summary]
    if not rated:
        return "No trial has a measured rate."
    predicted = _ratios([s for s in rated if converges(s)], LINEARIZED)
    bounded = _ratios([s for s in rated if s.get(BOUND, 0) > 0], BOUND)
    said = [
        f"{_middle(ratios)[0]} times {what}{_middle(ratios)[1]}"
        for ratios, what in ((predicted, "the linearised prediction"), (bounded, "the bound"))
        if ratios
    ]
    if not said:
        middle, ends = _middle([s[MEASURED] for s in rated])
        return f"The measured rate is {middle} nats a step{ends}."
    return f"The measured rate is {' and '.join(said)}."


def _ratios(summaries: Sequence[dict[str, float]], key: str) -> list[float]:
    return [summary[MEASURED] / summary[key] for summary in summaries]


def _middle(values: Sequence[float]) -> tuple[str, str]:
    """The median, and where it is one of several, the least and the greatest value."""
    low, high = times(min(values)), times(max(values))
    ends = f" (median; {low} to {high})" if low != high else ""
    return times(statistics.median(values)), ends


def _guarantee(lines: Sequence[Line]) -> str:
    known = [line.summary[HELD] for line in lines if HELD in line.summary]
    if not known:
        return ""
    held = sum(value == 1 for value in known)
    if held == len(known):
        return "Conditions (7) to (10) hold in every trial, so the bound is guaranteed."
    where = "in none" if held == 0 else "there only"
    return (
        f"Conditions (7) to (10) all hold in {held} of {len(known)} trials: the bound is "
        f"guaranteed {where}."
    )


def _attention(lines: Sequence[Line]) -> str:
    """How many trials need a look, and why."""
    counts = {
        "failed": _count(lines, lambda line: line.status == report.FAILED),
        "without a measured rate": _count(
            lines, lambda line: line.finished and MEASURED not in line.summary
        ),
        "above the bound": _count(lines, lambda line: line.summary.get("theory/bound_held") == 0),
    }
    said = [f"{count} {what}" for what, count in counts.items() if count]
    return f"**Needs a look**: {', '.join(said)}." if said else ""


def _count(lines: Sequence[Line], is_so: Callable[[Line], bool]) -> int:
    return sum(is_so(line) for line in lines)


def _groups(lines: Sequence[Line]) -> str:
    """Table over groups of seeds; of more than MOST_ROWS groups, the first."""
    groups = report.cells(lines)
    rows = [
        f"| {group.name} | {len(group.lines)} | "
        + " | ".join(_values(group, key) for key in COLUMNS.values())
        + " |"
        for group in groups[:MOST_ROWS]
    ]
    more = len(groups) - len(rows)
    header = [f"| trials | seeds | {' | '.join(COLUMNS)} |", "|---" * (2 + len(COLUMNS)) + "|"]
    note = "Rates in nats per GD step: mean over the seeds, and the least and greatest value."
    note += f" {more} more groups of seeds are in the report." if more else ""
    return "\n".join([*header, *rows, "", note])


def _values(group: Cell, key: str) -> str:
    """The mean over the seeds, and from where to where they lie."""
    values = report.values_of(group.lines, key)
    if not values:
        return "-"
    low, high = number(min(values)), number(max(values))
    mean = number(statistics.fmean(values))
    return mean if low == high else f"{mean} ({low} to {high})"


def _swept(lines: Sequence[Line]) -> list[str]:
    """The axes and their values."""
    axes = axes_of(line.planned.varying for line in lines)
    return [f"- `{key}`: {_some([str(v) for v in values])}" for key, values in axes.items()]


def _some(values: list[str]) -> str:
    shown = ", ".join(values[:12])
    return shown if len(values) <= 12 else f"{shown}, ... ({len(values)} values)"


def _in_markdown(found: Findings | None) -> str:
    """Table of what a search found."""
    if found is None:
        return ""
    table = [found.header, ["---"] * len(found.header), *found.rows[:MOST_ROWS]]
    return "\n".join([f"**{found.title}**", "", *(f"| {' | '.join(row)} |" for row in table)])
