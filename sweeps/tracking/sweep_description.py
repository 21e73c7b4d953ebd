"""Description of a finished sweep's MLflow page: the verdict, and a table over groups of seeds."""

from collections.abc import Sequence

from sweeps import report
from sweeps.planning import axes_of
from sweeps.report import Cell, Line
from sweeps.reports.spread import listed, of_seeds
from sweeps.reports.verdict import MEASURED, OVER_BOUND, OVER_LINEARIZED, verdict
from sweeps.search.findings import Findings

COLUMNS = {
    "measured rate": MEASURED,
    "measured / linearised": OVER_LINEARIZED,
    "measured / bound": OVER_BOUND,
}
# Rows of a table; of more groups the report has them all.
MOST_ROWS = 100


def describe(
    command: str, lines: Sequence[Line], links: dict[str, str], found: Findings | None = None
) -> str:
    """A sweep's description, in Markdown; it begins with the verdict."""
    said = verdict(lines)
    ended = ", ".join(f"{count} {status}" for status, count in report.counts(lines).items())
    blocks = [
        said.headline,
        f"**Needs attention**: {listed(said.attention)}." if said.attention else "",
        f"**{len(lines)} trials**: {ended}. "
        f"[Charts of them]({links['trials']}), [table of them]({links['table']}).",
        _in_markdown(found),
        _groups(lines),
        "\n".join(f"- {question}: {answer}" for question, answer in said.points),
        "\n".join(_swept(lines)),
        f"Launched by `{command}`; the same command again trains only what is missing. "
        "All trials: `trials.csv` among the artifacts; figures and what was violated: "
        "`report.html`.",
    ]
    return "\n\n".join(block for block in blocks if block)


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
    note = "Rates in nats per GD step: the mean over the seeds, and in brackets how they spread."
    note += f" {more} more groups of seeds are in the report." if more else ""
    return "\n".join([*header, *rows, "", note])


def _values(group: Cell, key: str) -> str:
    """The mean over the seeds, and how they spread."""
    values = report.values_of(group.lines, key)
    if not values:
        return "-"
    mean, *spread = of_seeds(values) if len(values) > 1 else [of_seeds(values)[0]]
    return f"{mean} ({'; '.join(spread)})" if spread else mean


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
