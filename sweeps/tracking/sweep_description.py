"""Description of a finished sweep's MLflow page: the verdict, and a table over groups of seeds."""

from collections.abc import Sequence

from sweeps.planning import outcomes
from sweeps.planning.outcomes import SeedGroup, TrialOutcome
from sweeps.planning.plan import axes_of
from sweeps.reports.spread import listed, of_seeds
from sweeps.reports.verdict import MEASURED, OVER_BOUND, OVER_LINEARIZED, verdict
from sweeps.search.summary import SearchSummary
from sweeps.tracking.markdown import escaped, fitting, heading, table

COLUMNS = {
    "measured rate, nats per GD step": MEASURED,
    "measured / linearised": OVER_LINEARIZED,
    "measured / bound": OVER_BOUND,
}
# Characters of a table: MLflow cuts a description off after 8000. The report has all rows.
ROOM = 3000


def describe(
    command: str,
    lines: Sequence[TrialOutcome],
    links: dict[str, str],
    found: SearchSummary | None = None,
) -> str:
    """A sweep's description, in Markdown; it begins with the verdict."""
    said = verdict(lines)
    ended = ", ".join(
        f"{count} {status}" for status, count in outcomes.status_counts(lines).items()
    )
    blocks = [
        escaped(said.headline),
        f"**Needs attention**: {escaped(listed(said.attention))}." if said.attention else "",
        f"**{len(lines)} trials**: {ended}. "
        f"[Charts of them]({links['trials']}), [table of them]({links['table']}).",
        _in_markdown(found),
        _groups(lines),
        heading("What was found"),
        "\n".join(f"- {escaped(f'{question}: {answer}')}" for question, answer in said.points),
        heading("What was swept"),
        "\n".join(_swept(lines)),
        f"Launched by `{command}`; the same command again trains only what is missing. "
        "All trials: `trials.csv` among the artifacts; figures and what was violated: "
        "`report.html`.",
    ]
    return "\n\n".join(block for block in blocks if block)


def _groups(lines: Sequence[TrialOutcome]) -> str:
    """Table over groups of seeds: the first ones where there is no room for all."""
    rows = [
        [
            escaped(group.name),
            str(len(group.lines)),
            *(_values(group, key) for key in COLUMNS.values()),
        ]
        for group in outcomes.seed_groups(lines)
    ]
    return _titled("Means over seeds", ["trials", "seeds", *COLUMNS], rows)


def _titled(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table under its title; it says so where it has not all rows."""
    shown = fitting(rows, ROOM)
    more = len(rows) - len(shown)
    note = f"The first {len(shown)} of {len(rows)}: all are in `report.html`.\n\n" if more else ""
    return f"{heading(escaped(title))}\n\n{note}{table(header, shown)}"


def _values(group: SeedGroup, key: str) -> str:
    """The mean over the seeds, and how they spread."""
    values = outcomes.values_of(group.lines, key)
    if not values:
        return "-"
    mean, *spread = of_seeds(values) if len(values) > 1 else [of_seeds(values)[0]]
    return f"{mean} ({'; '.join(spread)})" if spread else mean


def _swept(lines: Sequence[TrialOutcome]) -> list[str]:
    """The axes and their values."""
    axes = axes_of(line.planned.varying for line in lines)
    return [
        f"- `{key}`: {escaped(_some([str(v) for v in values]))}" for key, values in axes.items()
    ]


def _some(values: list[str]) -> str:
    shown = ", ".join(values[:12])
    return shown if len(values) <= 12 else f"{shown}, ... ({len(values)} values)"


def _in_markdown(found: SearchSummary | None) -> str:
    """Table of what a search found."""
    if found is None or not found.rows:
        return ""
    rows = [[escaped(cell) for cell in row] for row in found.rows]
    return _titled(found.title, found.header, rows)
