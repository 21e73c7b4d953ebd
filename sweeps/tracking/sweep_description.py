"""Description of a finished sweep's page in MLflow: the verdict, and a table of seed groups."""

from collections.abc import Sequence

from sweeps.config.texts import count_noun
from sweeps.metrics.shown import OF_SEEDS_IN_MLFLOW, headings
from sweeps.planning import outcomes
from sweeps.planning.outcomes import SeedGroup, TrialOutcome
from sweeps.planning.plan import axes_of
from sweeps.reports.spread import listed, of_seeds
from sweeps.reports.verdict import verdict
from sweeps.search.base import SearchSummary
from sweeps.tracking.markdown import escaped, fitting, heading, table

# Most characters of a table: MLflow cuts a description off after 8000. The report has all rows.
ROOM = 3000


def describe(
    command: str,
    lines: Sequence[TrialOutcome],
    links: dict[str, str],
    findings: SearchSummary | None = None,
) -> str:
    """Return a sweep's description in Markdown; it begins with the verdict.

    Args:
        command: the command that launched the sweep.
        lines: outcome of each trial.
        links: addresses of the sweep's pages in MLflow.
        findings: findings of the search, if it has any.
    """
    conclusion = verdict(lines)
    attention = escaped(listed(conclusion.attention))
    ended = ", ".join(
        f"{count} {status}" for status, count in outcomes.status_counts(lines).items()
    )
    blocks = [
        escaped(conclusion.headline),
        f"**Needs attention**: {attention}." if attention else "",
        f"**{count_noun(len(lines), 'trial')}**: {ended}. "
        f"[Charts of them]({links['trials']}), [table of them]({links['table']}).",
        _findings(findings),
        _groups(lines),
        heading("What was found"),
        "\n".join(f"- {escaped(f'{name}: {answer}')}" for name, answer in conclusion.points),
        heading("What was swept"),
        "\n".join(_swept(lines)),
        f"Launched by `{command}`; the same command again trains only what is missing. "
        "All trials: `trials.csv` among the artifacts; figures and what was violated: "
        "`report.html`.",
    ]
    return "\n\n".join(block for block in blocks if block)


def _groups(lines: Sequence[TrialOutcome]) -> str:
    """Return a table of the seed groups; the first ones, if not all fit."""
    rows = [
        [
            escaped(group.name),
            _seeds(group),
            *(_values(group, key) for key in OF_SEEDS_IN_MLFLOW),
        ]
        for group in outcomes.seed_groups(lines)
    ]
    header = ["trials", "seeds", *headings(OF_SEEDS_IN_MLFLOW)]
    return _titled("Means over seeds, rates in nats per GD step", header, rows)


def _seeds(group: SeedGroup) -> str:
    """Return the number of seeds; where some have no result, how many have one."""
    finished, total = sum(outcome.finished for outcome in group.outcomes), len(group.outcomes)
    return str(total) if finished == total else f"{finished} of {total}"


def _titled(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with its title, and a note if not all rows fit."""
    shown = fitting(rows, ROOM)
    more = len(rows) - len(shown)
    note = f"The first {len(shown)} of {len(rows)}: all are in `report.html`.\n\n" if more else ""
    return f"{heading(escaped(title))}\n\n{note}{table(header, shown)}"


def _values(group: SeedGroup, key: str) -> str:
    """Return the mean over the seeds, and their spread."""
    values = outcomes.values_of(group.outcomes, key)
    if not values:
        return "-"
    mean, *spread = of_seeds(values) if len(values) > 1 else [of_seeds(values)[0]]
    return f"{mean} ({'; '.join(spread)})" if spread else mean


def _swept(lines: Sequence[TrialOutcome]) -> list[str]:
    """Return a line for each axis, with its values."""
    axes = axes_of(line.planned.varying for line in lines)
    return [
        f"- `{key}`: {escaped(_some([str(v) for v in values]))}" for key, values in axes.items()
    ]


def _some(values: list[str]) -> str:
    shown = ", ".join(values[:12])
    return shown if len(values) <= 12 else f"{shown}, ... ({len(values)} values)"


def _findings(findings: SearchSummary | None) -> str:
    """Return the table of a search's findings; "" if there are none."""
    if findings is None or not findings.rows:
        return ""
    rows = [[escaped(cell) for cell in row] for row in findings.rows]
    table_text = _titled(findings.title, findings.header, rows)
    return "\n\n".join([table_text, *(f"{escaped(remark)}." for remark in findings.remarks)])
