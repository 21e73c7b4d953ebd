"""Description of a finished trial's MLflow page: the verdict, the rates, the checks."""

from dataclasses import dataclass

from sweeps.record import Record
from sweeps.report import number
from sweeps.reports.spread import listed, short
from sweeps.reports.verdict import LINEARIZED, MEASURED, NO_RATE

BOUND = "rate/bound"
CONDITIONS = {f"({k})": f"theory/slack_{k}" for k in (7, 8, 9, 10)}


@dataclass(frozen=True)
class _Check:
    """One row of the table of checks.

    Attributes:
        name: what has to hold.
        value: the number that decides it, as text.
        held: whether it holds.
    """

    name: str
    value: str
    held: bool


def describe_trial(record: Record) -> str:
    """A trial's description, in Markdown; its first sentence is the verdict."""
    blocks = [verdict(record), _rates(record.summary), _checks(record.summary), _end(record)]
    blocks.append("\n".join(f"- no `{name}`: {why}" for name, why in record.notes.items()))
    return "\n\n".join(block for block in blocks if block)


def verdict(record: Record) -> str:
    """Measured rate beside the predicted and the guaranteed one, in words."""
    return f"{_compared(record)} {_guarantee(record.summary)}".strip()


def _compared(record: Record) -> str:
    s = record.summary
    if MEASURED not in s:
        why = record.notes.get(MEASURED) or record.notes.get("rate") or record.reason
        return f"No measured rate: {why}."
    beside = [text for text in (_beside_prediction(s), _beside_bound(s)) if text]
    compared = f", {listed(beside)}" if beside else ""
    return f"Measured {s[MEASURED]:.3g} nats a step{compared}."


def _beside_prediction(s: dict[str, float]) -> str:
    """Compare the measured rate with the linearised prediction."""
    if LINEARIZED not in s:
        return ""
    if s[LINEARIZED] <= NO_RATE * abs(s[MEASURED]):
        return "where the linearised model does not converge"
    ratio = s[MEASURED] / s[LINEARIZED]
    if not 0.1 < ratio < 2:
        return f"{short(ratio)} times the linearised prediction"
    percent = f"{abs(ratio - 1) * 100:.2g} %"
    return f"{percent} {'below' if ratio < 1 else 'above'} the linearised prediction"


def _beside_bound(s: dict[str, float]) -> str:
    if s.get(BOUND, 0) <= 0:
        return ""
    return f"{short(s[MEASURED] / s[BOUND])} times the bound"


def _guarantee(s: dict[str, float]) -> str:
    """Whether conditions (7) to (10) hold, and whether the loss kept to the bound."""
    known = {name: s[key] >= 1 for name, key in CONDITIONS.items() if key in s}
    failed = [name for name, holds in known.items() if not holds]
    exceeded = "The loss exceeded the bound. " if s.get("theory/bound_held") == 0 else ""
    if not failed:
        all_hold = len(known) == len(CONDITIONS)
        guaranteed = "Conditions (7) to (10) hold, so the bound is guaranteed." if all_hold else ""
        return exceeded + guaranteed
    if len(failed) == len(CONDITIONS):
        which = "None of conditions (7) to (10) holds"
    elif len(failed) == 1:
        which = f"Condition {failed[0]} does not hold"
    else:
        which = f"Conditions {listed(failed)} do not hold"
    return f"{exceeded}{which}, so the bound is not guaranteed here."


def _rates(s: dict[str, float]) -> str:
    """Table of what is guaranteed, predicted and measured."""
    rows = [
        ("guaranteed (if the conditions hold)", s.get(BOUND)),
        ("predicted for infinite width (population)", s.get("rate/population")),
        ("predicted, linearised at t = 0", s.get(LINEARIZED)),
    ]
    measured = s.get(MEASURED)
    table = [
        f"| {name} | {number(rate)} | {_ratio(measured, rate)} |"
        for name, rate in rows
        if rate is not None
    ]
    if measured is not None:
        error = s.get("rate/measured_stderr")
        spread = "" if error is None else f" ± {error:.1g}"
        table.append(f"| **measured** | **{number(measured)}**{spread} | |")
    header = ["| rate | nats a GD step | measured / this |", "|---|---|---|"]
    return "\n".join(header + table) if table else ""


def _ratio(measured: float | None, rate: float) -> str:
    return number(measured / rate) if measured is not None and rate > 0 else "-"


def _checks(s: dict[str, float]) -> str:
    """Table of the theorem's conditions and of what it says of the training."""
    rows = [
        _Check(f"condition {name}: slack, holds at 1 and above", number(s[key]), s[key] >= 1)
        for name, key in CONDITIONS.items()
        if key in s
    ]
    for flag, name, key in (
        ("theory/bound_held", "loss under the bound: log loss above it at most", "bound_violation"),
        (
            "theory/lambda_held",
            "lambda_t >= lambda_0 / 2: least lambda_t / lambda_0",
            "lambda_ratio_min",
        ),
        ("theory/well_posed_held", "L &#124;&#124;W(t)&#124;&#124;_2 < 1 at every step", ""),
    ):
        if flag in s:
            rows.append(_Check(name, number(s.get(f"theory/{key}")) if key else "", s[flag] == 1))
    table = [f"| {row.name} | {row.value} | {'yes' if row.held else '**no**'} |" for row in rows]
    return "\n".join(["| check | value | holds |", "|---|---|---|", *table]) if rows else ""


def _end(record: Record) -> str:
    """Say how the trial ended, and where it was interrupted."""
    at = record.environment.get("resumed_at", [])
    again = f" Interrupted, it went on from step {', '.join(map(str, at))}." if at else ""
    figure = " `theory_vs_measurement.png` among the artifacts shows the losses."
    drawn = figure if record.trajectory["loss"] else ""
    return f"Ended as **{record.status}**: {record.reason}.{again}{drawn}"
