"""The verdict on a sweep: measured rates compared with predicted rates and the bound."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import deq
from sweeps.metrics import slack_holds
from sweeps.planning.labels import value_text
from sweeps.planning.outcomes import TrialOutcome
from sweeps.planning.plan import axes_of, main_axis
from sweeps.reports.attention import counts_by_kind, remarks
from sweeps.reports.frames import metrics_frame
from sweeps.reports.spread import evenly, listed, short, spread

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame, Series

WIDTH = "model.width"
MEASURED, LINEARIZED = "rate/measured", "rate/linearized"
OVER_LINEARIZED, OVER_BOUND = "rate/measured_over_linearized", "rate/measured_over_bound"
LAMBDA_0, LAMBDA_STAR = "theory/lambda_0_over_m", "theory/lambda_star"
OVER_ASYMPTOTIC = "rate/measured_end_over_asymptotic"
DRIFT, MOVED = "theory/kernel_drift", "train/distance_relative"
CONVERGED = "converged"
HELD, BOUND_HELD = "theory/condition_held", "theory/bound_held"
SLACKS = {f"({k})": f"theory/slack_{k}" for k in (7, 8, 9, 10)}
METRICS = [MEASURED, LINEARIZED, OVER_LINEARIZED, OVER_BOUND, LAMBDA_0, LAMBDA_STAR]
METRICS += [OVER_ASYMPTOTIC, DRIFT, MOVED, HELD, BOUND_HELD, *SLACKS.values()]
# A linearised rate below this share of the measured one is zero up to rounding.
NO_RATE = 1e-6
# Limits on the groups of seeds and the values of an axis in a sentence.
MAX_NAMES, MAX_VALUES = 6, 6


@dataclass(frozen=True)
class Condition:
    """One row of the table of the theorem's conditions.

    Attributes:
        name: name of the condition.
        held: number of trials in which it held, and of trials with a slack.
        slack: range of its slack; see `slack_holds`.
        where: the groups of seeds in which it held.
    """

    name: str
    held: str
    slack: str
    where: str


@dataclass(frozen=True)
class Verdict:
    """First section of a report.

    Attributes:
        headline: the answer in one or two sentences.
        points: (question, answer) pairs.
        conditions: a row for each of (7) to (10), and one for all of them.
        attention: what needs attention, with counts; empty if nothing does.
    """

    headline: str
    points: list[tuple[str, str]]
    conditions: list[Condition]
    attention: list[str]


def verdict(outcomes: Sequence[TrialOutcome]) -> Verdict:
    """The verdict on a sweep's trials."""
    frame = metrics_frame(outcomes, METRICS)
    frame["rated"] = frame[MEASURED].notna() & ~frame.stopped
    # The ratio to the linearised rate means something only where the linearised model converges.
    compared = frame[
        frame.rated
        & frame[OVER_LINEARIZED].notna()
        & (frame[LINEARIZED] > NO_RATE * frame[MEASURED].abs())
    ]
    points = [
        ("Measured against linearised", _linearised(frame, compared)),
        *_along_axis(compared[OVER_LINEARIZED], outcomes),
        ("Against the bound", _bound(frame)),
        *_converged(frame, outcomes),
        ("lambda_0 against m lambda_*", _lambda(frame)),
    ]
    attention = counts_by_kind(remarks(outcomes))
    return Verdict(_headline(frame, compared), points, _conditions(frame), attention)


def _headline(frame: "DataFrame", compared: "DataFrame") -> str:
    rated = frame[frame.rated]
    if rated.empty:
        return "No trial has a measured rate."
    ratios = []
    if len(compared):
        few = f" (in {len(compared)} trials)" if len(compared) < len(rated) else ""
        ratio = short(compared[OVER_LINEARIZED].median())
        ratios.append(f"{ratio} times the linearised prediction{few}")
    if rated[OVER_BOUND].notna().any():
        ratios.append(f"{short(rated[OVER_BOUND].median())} times the theorem's bound")
    measured = f"In the median the measured rate is {listed(ratios)}. " if ratios else ""
    held = frame[HELD].dropna()
    if held.empty:
        return measured or "No measured rate has a prediction beside it."
    guarantee = "guaranteed there and nowhere else" if held.any() else "guaranteed in none"
    return (
        f"{measured}Conditions (7) to (10), all four, hold in {_count(held)} trials: "
        f"the bound is {guarantee}."
    )


def _linearised(frame: "DataFrame", compared: "DataFrame") -> str:
    not_converging = int((frame.rated & frame[LINEARIZED].notna()).sum()) - len(compared)
    rest = (
        f" In {not_converging} more the linearised model does not converge (its rate is zero or "
        "negative), so there is nothing to divide by."
        if not_converging
        else ""
    )
    if compared.empty:
        return f"No trial has both rates.{rest}"
    return f"Measured / linearised rate: {spread(compared[OVER_LINEARIZED].tolist())}.{rest}"


def _along_axis(ratios: "Series[float]", outcomes: Sequence[TrialOutcome]) -> list[tuple[str, str]]:
    """Measured / linearised against the width, or against the axis with most values.

    Args:
        ratios: measured / linearised rate, by the trial's position in `outcomes`.
        outcomes: all trials.
    """
    varying = [outcomes[i].planned.varying for i in ratios.index]
    axis = WIDTH if len(axes_of(varying).get(WIDTH, [])) > 1 else main_axis(varying)
    values = [float(keys[axis]) for keys in varying] if axis else []
    if len(set(values)) < 2:
        return []
    by_value = ratios.groupby(values).median()
    medians = [(_value(v), m) for v, m in zip(sorted(set(values)), by_value, strict=True)]
    some = ", ".join(f"{short(m)} at {at}" for at, m in evenly(medians, MAX_VALUES))
    ends = [f"{abs(m - 1) * 100:.2g} % from 1 at {at}" for at, m in (medians[0], medians[-1])]
    answer = f"Median measured / linearised rate: {some}. That is {', '.join(ends)}."
    return [(f"With the {'width' if axis == WIDTH else axis}", answer)]


def _bound(frame: "DataFrame") -> str:
    ratios = frame[frame.rated][OVER_BOUND].dropna().tolist()
    measured = f"Measured rate / bound: {spread(ratios)}. " if ratios else ""
    return (
        f"{measured}The loss stayed under the bound in {_count(frame[BOUND_HELD].dropna())} "
        "trials. The bound is guaranteed only where conditions (7) to (10) hold: in "
        f"{_count(frame[HELD].dropna())} trials."
    )


def _converged(frame: "DataFrame", outcomes: Sequence[TrialOutcome]) -> list[tuple[str, str]]:
    """Rate, kernel and weights at the end of the trials that reached their loss_tol."""
    ended = frame.loc[[x.status == CONVERGED for x in outcomes]]
    ratios = ended[OVER_ASYMPTOTIC].dropna().tolist()
    if not ratios:
        return []
    moved = [
        f"{text} {short(values.min())} to {short(values.max())}"
        for text, values in (
            ("||H(T) - H(0)||_F / ||H(0)||_F is", ended[DRIFT].dropna()),
            ("||theta(T) - theta(0)|| / ||theta(0)|| is", ended[MOVED].dropna()),
        )
        if len(values)
    ]
    answer = (
        f"{len(ended)} of {len(outcomes)} trials reached train.loss_tol. Their rate at the end "
        f"over -2 log(1 - eta lambda_min(H)) there: {spread(ratios)}. {listed(moved)}."
    )
    return [("At convergence", answer)]


def _lambda(frame: "DataFrame") -> str:
    """Number of groups of seeds in which lambda_0 >= m lambda_* / 2 for every seed."""
    both = frame[LAMBDA_0].notna() & frame[LAMBDA_STAR].notna()
    groups = _by_group(frame[both], frame[LAMBDA_0] >= frame[LAMBDA_STAR] / 2)
    if not groups:
        return "No trial has both numbers."
    below = [
        f"{name} (only {held} of {total} trials)" if held else name
        for name, held, total in groups
        if held < total
    ]
    full = len(groups) - len(below)
    text = f"lambda_0 >= m lambda_* / 2 in {full} of {len(groups)} groups of seeds"
    missing = f"; not in {_names(below)}" if below else ""
    return f"{text}{missing}.{_probabilities(groups)}"


def _probabilities(groups: Sequence[tuple[str, int, int]]) -> str:
    """Probability that it holds, over the seeds of each group, with its interval.

    Args:
        groups: name, number of trials in which it held, and number of trials.
    """
    several = evenly([group for group in groups if group[2] > 1], MAX_NAMES)
    shares = [(name, deq.proportion(held, total)) for name, held, total in several]
    texts = [f"{name} {short(p.value)} ({short(p.low)} to {short(p.high)})" for name, p in shares]
    return f" Its probability over seeds (95 %): {', '.join(texts)}." if texts else ""


def _conditions(frame: "DataFrame") -> list[Condition]:
    rows = []
    for name, key in SLACKS.items():
        slacks = frame[key].dropna()
        if len(slacks):
            ends = f"{short(slacks.min())} to {short(slacks.max())}"
            holds = frame[key].map(functools.partial(slack_holds, key))
            where = _where(frame[frame[key].notna()], holds)
            rows.append(Condition(name, _count(holds[slacks.index]), ends, where))
    held = frame[HELD].dropna()
    if len(held):
        where = _where(frame[frame[HELD].notna()], frame[HELD] == 1)
        rows.append(Condition("all four", _count(held), "", where))
    return rows


def _where(frame: "DataFrame", held: "Series[bool]") -> str:
    """The groups of seeds in which a condition holds, in words."""
    groups = _by_group(frame, held)
    if all(held == total for _, held, total in groups):
        return "everywhere"
    names = [
        name if held == total else f"{name} ({held} of {total} trials)"
        for name, held, total in groups
        if held
    ]
    return _names(names) if names else "nowhere"


def _by_group(frame: "DataFrame", held: "Series[bool]") -> list[tuple[str, int, int]]:
    """Name, number of trials in which it held, and number of trials of each group of seeds."""
    cells = frame.assign(held=held).groupby("cell", sort=False)
    table = cells.agg(group=("group", "first"), held=("held", "sum"), total=("held", "size"))
    return [(str(name), int(h), int(k)) for name, h, k in table.itertuples(index=False)]


def _count(held: "Series[bool]") -> str:
    """Number of trials in which something held, and of all: "2 of 5"."""
    return f"{int(held.sum())} of {len(held)}"


def _names(names: Sequence[str]) -> str:
    if len(names) <= MAX_NAMES:
        return listed(names)
    return f"{', '.join(names[:MAX_NAMES])} and {len(names) - MAX_NAMES} more"


def _value(value: float) -> str:
    return value_text(int(value) if value == int(value) else value)
