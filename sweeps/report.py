"""What a sweep found: the table, its CSV, and the text of its MLflow page."""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from sweeps.plan import PlannedTrial
from sweeps.record import Record

COLUMNS = {
    "measured rate": "rate/measured",
    "linearised": "rate/linearized",
    "bound": "rate/bound",
    "measured/bound": "rate/measured_over_bound",
    "lambda_0/m": "theory/lambda_0_over_m",
    "lambda_*": "theory/lambda_star",
    "seconds": "time/seconds",
}


@dataclass(frozen=True)
class Line:
    """One trial in the table: what was planned, and what came of it."""

    planned: PlannedTrial
    record: Record | None
    error: str = ""

    @property
    def status(self) -> str:
        """How it ended; "failed" when it raised, "missing" when it never ran."""
        if self.record is not None:
            return self.record.status
        return "failed" if self.error else "missing"

    def value(self, key: str) -> float | None:
        """A summary metric, where it exists."""
        return self.record.summary.get(key) if self.record else None


def show(lines: Sequence[Line], console: Console) -> None:
    """Print the table."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("trial", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        cells = [_number(line.value(key)) for key in COLUMNS.values()]
        table.add_row(line.planned.name, line.status, *cells)
    console.print(table)


def to_csv(lines: Sequence[Line]) -> str:
    """Every trial, reused ones included, with all summary metrics."""
    keys = sorted({key for line in lines if line.record for key in line.record.summary})
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["trial", "status", "reused", "config_hash", "cell_hash", *keys])
    for line in lines:
        p = line.planned
        values = [line.value(key) for key in keys]
        writer.writerow(
            [p.name, line.status, p.finished, p.config_hash, p.cell_hash]
            + ["" if v is None else repr(v) for v in values]
        )
    return sink.getvalue()


def cells(lines: Sequence[Line], key: str) -> list[tuple[str, float, float | None]]:
    """(cell's name, mean over seeds, standard deviation) of a metric, in the plan's order."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.planned.cell_hash, []).append(line)
    found = []
    for group in groups.values():
        values = [v for v in (line.value(key) for line in group) if v is not None]
        if values:
            spread = statistics.stdev(values) if len(values) > 1 else None
            found.append((cell_name(group[0]), statistics.fmean(values), spread))
    return found


def cell_name(line: Line) -> str:
    """A trial's name without its seed."""
    words = [word for word in line.planned.name.split() if not word.startswith("seed=")]
    return " ".join(words) or "default"


def describe(sweep: str, command: str, lines: Sequence[Line]) -> str:
    """The parent run's description, in Markdown."""
    counts: dict[str, int] = {}
    for line in lines:
        counts[line.status] = counts.get(line.status, 0) + 1
    ended = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    text = [
        f"**Sweep `{sweep}`**: {len(lines)} trials ({ended}).",
        f"\nLaunched by `{command}`; the same command again trains only what is missing.",
        "\n| cell | measured rate | measured / linearised | measured / bound |",
        "|---|---|---|---|",
    ]
    columns = ("rate/measured", "rate/measured_over_linearized", "rate/measured_over_bound")
    means = [{name: mean for name, mean, _ in cells(lines, key)} for key in columns]
    for name in dict.fromkeys(cell_name(line) for line in lines):
        row = " | ".join(_number(column.get(name)) for column in means)
        text.append(f"| {name} | {row} |")
    text.append("\nMeans over seeds. All trials: `trials.csv`; figure: `rates.png`.")
    return "\n".join(text)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
