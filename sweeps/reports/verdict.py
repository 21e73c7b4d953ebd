"""The verdict on a sweep: measured rates compared with predicted rates and the bound."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import deq
from sweeps.config.texts import count_noun, percent
from sweeps.metrics import SLACKS, slack_holds
from sweeps.planning.labels import value_text
from sweeps.planning.outcomes import TrialOutcome
from sweeps.planning.plan import axes_of, main_axis
from sweeps.reports.attention import counts_by_kind, remarks
from sweeps.reports.frames import (
    LINEARIZED,
    MEASURED,
    OVER_LINEARIZED,
    has_linearised_rate,
    metrics_frame,
)
from sweeps.reports.spread import FEW, between, evenly, listed, short, spread

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame, Series

WIDTH = "model.width"
OVER_BOUND = "rate/measured_over_bound"
LAMBDA_0, LAMBDA_STAR = "theory/lambda_0_over_m", "theory/lambda_star"
OVER_ASYMPTOTIC = "rate/measured_end_over_asymptotic"
DRIFT, MOVED = "theory/kernel_drift", "train/distance_relative"
CONVERGED = "converged"
HELD, BOUND_HELD = "theory/condition_held", "theory/bound_held"
METRICS = [MEASURED, LINEARIZED, OVER_LINEARIZED, OVER_BOUND, LAMBDA_0, LAMBDA_STAR]
METRICS += [OVER_ASYMPTOTIC, DRIFT, MOVED, HELD, BOUND_HELD, *SLACKS.values()]
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
    compared = frame[frame.rated & has_linearised_rate(frame)]
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
        few = f" (in {count_noun(len(compared), 'trial')})" if len(compared) < len(rated) else ""
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
        f"{measured}Conditions (7) to (10), all four, hold in {_trials(held)}: "
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
    ends = [f"{percent(abs(m - 1) * 100)} % from 1 at {at}" for at, m in (medians[0], medians[-1])]
    answer = f"Median measured / linearised rate: {some}. That is {', '.join(ends)}."
    return [(f"With the {'width' if axis == WIDTH else axis}", answer)]


def _bound(frame: "DataFrame") -> str:
    ratios = frame[frame.rated][OVER_BOUND].dropna().tolist()
    texts = [f"Measured rate / bound: {spread(ratios)}."] if ratios else []
    under, held = frame[BOUND_HELD].dropna(), frame[HELD].dropna()
    if len(under):
        texts.append(f"The loss stayed under the bound in {_trials(under)}.")
    if len(held):
        texts.append(
            f"The bound is guaranteed only where conditions (7) to (10) hold: in {_trials(held)}."
        )
    return " ".join(texts) or "No trial has a bound."


def _converged(frame: "DataFrame", outcomes: Sequence[TrialOutcome]) -> list[tuple[str, str]]:
    """Rate, kernel and weights at the end of the trials that reached their loss_tol."""
    ended = frame.loc[[x.status == CONVERGED for x in outcomes]]
    ratios = ended[OVER_ASYMPTOTIC].dropna().tolist()
    if not ratios:
        return []
    moved = [
        f"{text} {between(values.min(), values.max())}"
        for text, values in (
            ("||H(T) - H(0)||_F / ||H(0)||_F =", ended[DRIFT].dropna()),
            ("||theta(T) - theta(0)|| / ||theta(0)|| =", ended[MOVED].dropna()),
        )
        if len(values)
    ]
    answer = (
        f"{len(ended)} of {count_noun(len(outcomes), 'trial')} reached train.loss_tol. The "
        "linearised model loses its slowest mode at the rate -2 log(1 - eta lambda_min(H)), where "
        "H is the tangent kernel at the end. Measured rate at the end divided by that rate: "
        f"{spread(ratios)}."
    )
    if moved:
        answer += f" Change from step 0 to the last step T: {'; '.join(moved)}."
    return [("At convergence", answer)]


def _lambda(frame: "DataFrame") -> str:
    """Number of groups of seeds in which lambda_0 >= m lambda_* / 2 for every seed."""
    both = frame[LAMBDA_0].notna() & frame[LAMBDA_STAR].notna()
    groups = _by_group(frame[both], frame[LAMBDA_0] >= frame[LAMBDA_STAR] / 2)
    if not groups:
        return "No trial has both numbers."
    below = [
        f"{name} (only {held} of {count_noun(total, 'trial')})" if held else name
        for name, held, total in groups
        if held < total
    ]
    full = len(groups) - len(below)
    text = f"lambda_0 >= m lambda_* / 2 in {full} of {len(groups)} groups of seeds"
    missing = f"; not in {_names(below)}" if below else ""
    return f"{text}{missing}.{_probabilities(groups)}"


def _probabilities(groups: Sequence[tuple[str, int, int]]) -> str:
    """Number of seeds of each group in which it holds; its probability if they are not few.

    Args:
        groups: name, number of trials in which it held, and number of trials.
    """
    several = evenly([group for group in groups if group[2] > 1], MAX_NAMES)
    texts = [f"{name}: {_share(held, total)}" for name, held, total in several]
    return f" Seeds in which it holds: {'; '.join(texts)}." if texts else ""


def _share(held: int, total: int) -> str:
    if total < FEW:
        return f"{held} of {total}"
    share = deq.proportion(held, total)
    return f"{held} of {total} (probability {between(share.low, share.high)}, 95 %)"


def _conditions(frame: "DataFrame") -> list[Condition]:
    rows = []
    for name, key in SLACKS.items():
        slacks = frame[key].dropna()
        if len(slacks):
            ends = between(slacks.min(), slacks.max())
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
        name if held == total else f"{name} ({held} of {count_noun(total, 'trial')})"
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


def _trials(held: "Series[bool]") -> str:
    """Number of trials in which something held, and of all: "2 of 5 trials"."""
    return f"{int(held.sum())} of {count_noun(len(held), 'trial')}"


def _names(names: Sequence[str]) -> str:
    if len(names) <= MAX_NAMES:
        return listed(names)
    return f"{', '.join(names[:MAX_NAMES])} and {len(names) - MAX_NAMES} more"


def _value(value: float) -> str:
    return value_text(int(value) if value == int(value) else value)
