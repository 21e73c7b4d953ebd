"""Description of a finished trial's run in MLflow: the verdict, the rates, the checks."""

from sweeps.config.texts import percent
from sweeps.metrics import SLACKS, STRICT, slack_holds
from sweeps.planning.outcomes import format_number
from sweeps.reports.frames import LINEARIZED, MEASURED, NO_RATE
from sweeps.reports.spread import listed, short
from sweeps.storage.record import Record
from sweeps.tracking.markdown import escaped, heading, table

BOUND = "rate/bound"
# The theorem's promises: metric that says whether it held, name, and the deciding metric.
PROMISES = (
    (
        "theory/bound_held",
        "loss under the bound: greatest log(loss / bound)",
        "theory/bound_violation",
    ),
    (
        "theory/lambda_held",
        "lambda_t >= lambda_0 / 2: least lambda_t / lambda_0",
        "theory/lambda_ratio_min",
    ),
    ("theory/well_posed_held", "L ||W(t)||_2 < 1 at every measured step", ""),
)


def describe_trial(record: Record) -> str:
    """Return a trial's description in Markdown; its first sentence is the verdict."""
    blocks = [verdict(record), _end(record), _rates(record.summary), _checks(record.summary)]
    return "\n\n".join(block for block in blocks if block)


def verdict(record: Record) -> str:
    """Return a sentence that compares the measured rate with the predicted one and the bound."""
    return f"{_compared(record)} {_guarantee(record.summary)}".strip()


def _compared(record: Record) -> str:
    s = record.summary
    if MEASURED not in s:
        why = record.notes.get(MEASURED) or record.notes.get("rate") or record.reason
        return f"No measured rate: {escaped(why)}."
    comparisons = [text for text in (_against_prediction(s), _against_bound(s)) if text]
    compared = f", {listed(comparisons)}" if comparisons else ""
    return f"Measured {s[MEASURED]:.3g} nats a step{compared}."


def _against_prediction(s: dict[str, float]) -> str:
    """Return a comparison of the measured rate with the linearised prediction, or ""."""
    if LINEARIZED not in s:
        return ""
    if s[LINEARIZED] <= NO_RATE * abs(s[MEASURED]):
        return "where the linearised model does not converge"
    ratio = s[MEASURED] / s[LINEARIZED]
    if not 0.1 < ratio < 2:
        return f"{short(ratio)} times the linearised prediction"
    difference = f"{percent(abs(ratio - 1) * 100)} %"
    return f"{difference} {'below' if ratio < 1 else 'above'} the linearised prediction"


def _against_bound(s: dict[str, float]) -> str:
    if s.get(BOUND, 0) <= 0:
        return ""
    return f"{short(s[MEASURED] / s[BOUND])} times the bound"


def _guarantee(s: dict[str, float]) -> str:
    """Return which of conditions (7) to (10) hold, and whether the loss exceeded the bound."""
    conditions = {name: slack_holds(key, s[key]) for name, key in SLACKS.items() if key in s}
    failed = [name for name, holds in conditions.items() if not holds]
    exceeded = "The loss exceeded the bound. " if s.get("theory/bound_held") == 0 else ""
    if not failed:
        all_hold = len(conditions) == len(SLACKS)
        guaranteed = "Conditions (7) to (10) hold, so the bound is guaranteed." if all_hold else ""
        return exceeded + guaranteed
    if len(failed) == len(SLACKS):
        which = "None of conditions (7) to (10) holds"
    elif len(failed) == 1:
        which = f"Condition {failed[0]} does not hold"
    else:
        which = f"Conditions {listed(failed)} do not hold"
    return f"{exceeded}{which}, so the bound is not guaranteed here."


def _rates(s: dict[str, float]) -> str:
    """Return the table of the bound, the predicted and measured rates."""
    measured = s.get(MEASURED)
    rows = [
        [name, format_number(s[key]), _ratio(measured, s[key])]
        for name, key in (
            ("guaranteed where (7) to (10) hold: the bound", BOUND),
            ("predicted for infinite width (population)", "rate/population"),
            ("predicted, linearised at t = 0", LINEARIZED),
        )
        if key in s
    ]
    if measured is not None:
        error = s.get("rate/measured_stderr")
        spread = "" if error is None else f" ± {error:.1g}"
        rows.append(["**measured**", f"**{format_number(measured)}**{spread}", ""])
    text = table(["rate", "nats per GD step", "measured / this"], rows)
    return f"{heading('Rates')}\n\n{text}" if text else ""


def _ratio(measured: float | None, rate: float) -> str:
    return format_number(measured / rate) if measured is not None and rate > 0 else "-"


def _checks(s: dict[str, float]) -> str:
    """Return the table of the theorem's conditions and promises."""
    rows = [
        [
            f"condition {name}: slack, holds {'above 1' if key == STRICT else 'at 1 and above'}",
            format_number(s[key]),
            _held(slack_holds(key, s[key])),
        ]
        for name, key in SLACKS.items()
        if key in s
    ]
    for flag, name, key in PROMISES:
        if flag in s:
            rows.append([name, format_number(s.get(key)), _held(s[flag] == 1)])
    text = table(["asked or promised", "value", "holds"], rows)
    return f"{heading('The theorem')}\n\n{text}" if text else ""


def _held(held: bool) -> str:
    return "yes" if held else "**no**"


def _end(record: Record) -> str:
    """Return how the trial ended, where it was interrupted, and what its notes say."""
    at = record.environment.get("resumed_at", [])
    resumed = f" Interrupted, it went on from step {', '.join(map(str, at))}." if at else ""
    figure = " `theory_vs_measurement.png` among the artifacts shows the losses."
    shown = figure if record.trajectory["loss"] else ""
    notes = [
        f"- {'' if name in record.summary else 'no '}`{name}`: {escaped(why)}"
        for name, why in record.notes.items()
    ]
    return "\n".join(
        [
            f"Ended as **{escaped(record.status)}**: {escaped(record.reason)}.{resumed}{shown}",
            *notes,
        ]
    )
