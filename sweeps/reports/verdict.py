"""The verdict on a sweep: measured rates beside what the theory predicts and guarantees."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sweeps.config.early_stopping import STOPPED
from sweeps.planning.labels import value_text
from sweeps.planning.outcomes import SeedGroup, TrialOutcome, seed_groups
from sweeps.planning.plan import axes_of, main_axis
from sweeps.reports.attention import counted, remarks
from sweeps.reports.spread import listed, short, spread

WIDTH = "model.width"
MEASURED, LINEARIZED = "rate/measured", "rate/linearized"
OVER_LINEARIZED, OVER_BOUND = "rate/measured_over_linearized", "rate/measured_over_bound"
LAMBDA_0, LAMBDA_STAR = "theory/lambda_0_over_m", "theory/lambda_star"
HELD = "theory/condition_held"
# A linearised rate below this share of the measured one is zero, up to rounding.
NO_RATE = 1e-6
# Groups of seeds named in a sentence, and values of an axis; of more, how many there are.
MOST_NAMES, MOST_VALUES = 6, 6


@dataclass(frozen=True)
class Condition:
    """One row of the table of the theorem's conditions.

    Attributes:
        name: of the condition.
        held: in how many trials, of how many.
        slack: where its slack lies; it holds at 1 and above.
        where: the groups of seeds in which it held.
    """

    name: str
    held: str
    slack: str
    where: str


@dataclass(frozen=True)
class Verdict:
    """Opening of a report.

    Attributes:
        headline: the answer in one sentence or two.
        points: (question, answer) one by one.
        conditions: a row for each of (7) to (10), and one for all of them.
        attention: what needs attention, with counts; empty when nothing does.
    """

    headline: str
    points: list[tuple[str, str]]
    conditions: list[Condition]
    attention: list[str]


def verdict(lines: Sequence[TrialOutcome]) -> Verdict:
    """The verdict on what came of a sweep's trials."""
    compared, groups = [line for line in lines if _comparable(line)], seed_groups(lines)
    points = [
        ("Measured against linearised", _near(lines, compared)),
        *_along(compared),
        ("Against the bound", _bound(lines)),
        ("lambda_0 against m lambda_*", _lambda(groups)),
    ]
    attention = counted(remarks(lines))
    return Verdict(_headline(lines, compared), points, _conditions(lines, groups), attention)


def rated(lines: Sequence[TrialOutcome]) -> list[TrialOutcome]:
    """Trials with a measured rate; those that were stopped early have none that counts."""
    return [line for line in lines if MEASURED in line.summary and line.status != STOPPED]


def _comparable(line: TrialOutcome) -> bool:
    """Whether measured / linearised says anything: the linearised model converges."""
    s = line.summary
    known = bool(rated([line])) and OVER_LINEARIZED in s and LINEARIZED in s
    return known and s[LINEARIZED] > NO_RATE * abs(s[MEASURED])


def _headline(lines: Sequence[TrialOutcome], compared: Sequence[TrialOutcome]) -> str:
    if not rated(lines):
        return "No trial has a measured rate."
    said = []
    if compared:
        few = f" (in {len(compared)} trials)" if len(compared) < len(rated(lines)) else ""
        ratio = short(_median(compared, OVER_LINEARIZED))
        said.append(f"{ratio} times the linearised prediction{few}")
    if bounded := _with(rated(lines), OVER_BOUND):
        said.append(f"{short(_median(bounded, OVER_BOUND))} times the theorem's bound")
    known = _with(lines, HELD)
    held = f"Conditions (7) to (10), all four, hold in {_held(known)} of {len(known)} trials"
    guarantee = "guaranteed there and nowhere else" if _held(known) else "guaranteed in none"
    measured = f"In the median the measured rate is {listed(said)}. " if said else ""
    if not known:
        return measured or "No measured rate has a prediction beside it."
    return f"{measured}{held}: the bound is {guarantee}."


def _near(lines: Sequence[TrialOutcome], compared: Sequence[TrialOutcome]) -> str:
    silent = len([line for line in rated(lines) if LINEARIZED in line.summary]) - len(compared)
    without = (
        f" In {silent} more the linearised model does not converge (its rate is zero or "
        "negative), so there is nothing to divide by."
        if silent
        else ""
    )
    if not compared:
        return f"No trial has both rates.{without}"
    values = [line.summary[OVER_LINEARIZED] for line in compared]
    return f"Measured / linearised rate: {spread(values)}.{without}"


def _along(compared: Sequence[TrialOutcome]) -> list[tuple[str, str]]:
    """Change of measured / linearised with the width, or with the axis that varies most."""
    varying = [line.planned.varying for line in compared]
    widths = axes_of(varying).get(WIDTH, [])
    axis = WIDTH if len(widths) > 1 else main_axis(varying)
    if axis is None or len({v[axis] for v in varying}) < 2:
        return []
    name = "width" if axis == WIDTH else axis
    by_value: dict[float, list[float]] = {}
    for line in compared:
        value = float(line.planned.varying[axis])
        by_value.setdefault(value, []).append(line.summary[OVER_LINEARIZED])
    medians = [(value, statistics.median(by_value[value])) for value in sorted(by_value)]
    shown_ = ", ".join(f"{short(m)} at {_value(v)}" for v, m in _some(medians))
    (low, first), (high, last) = medians[0], medians[-1]
    ends = f"{_off(first)} from 1 at {_value(low)}, {_off(last)} from 1 at {_value(high)}"
    return [(f"With the {name}", f"Median measured / linearised rate: {shown_}. That is {ends}.")]


def _bound(lines: Sequence[TrialOutcome]) -> str:
    over = _with(rated(lines), OVER_BOUND)
    stayed = _with(lines, "theory/bound_held")
    under = sum(line.summary["theory/bound_held"] == 1.0 for line in stayed)
    known = _with(lines, HELD)
    values = [line.summary[OVER_BOUND] for line in over]
    return " ".join(
        [
            f"Measured rate / bound: {spread(values)}." if values else "",
            f"The loss stayed under the bound in {under} of {len(stayed)} trials.",
            "The bound is guaranteed only where conditions (7) to (10) hold: in "
            f"{_held(known)} of {len(known)} trials.",
        ]
    ).strip()


def _lambda(groups: Sequence[SeedGroup]) -> str:
    """In how many groups of seeds lambda_0 >= m lambda_* / 2, in every seed of the group."""

    def held(line: TrialOutcome) -> bool | None:
        s = line.summary
        known = LAMBDA_0 in s and LAMBDA_STAR in s
        return s[LAMBDA_0] >= s[LAMBDA_STAR] / 2 if known else None

    answers = [answer for answer in _by_group(groups, held) if answer[2]]
    if not answers:
        return "No trial has both numbers."
    full = sum(held == known for _, held, known in answers)
    said = f"lambda_0 >= m lambda_* / 2 in {full} of {len(answers)} groups of seeds"
    short_of = [
        f"{name} (only {held} of {known} trials)" if held else name
        for name, held, known in answers
        if held < known
    ]
    return f"{said}; not in {_names(short_of)}." if short_of else f"{said}."


def _conditions(lines: Sequence[TrialOutcome], groups: Sequence[SeedGroup]) -> list[Condition]:
    found = []
    for name in ("7", "8", "9", "10"):
        key = f"theory/slack_{name}"
        slacks = [line.summary[key] for line in _with(lines, key)]
        if slacks:
            held = sum(slack >= 1 for slack in slacks)
            where = _where(groups, key, lambda slack: slack >= 1)
            ends = f"{short(min(slacks))} to {short(max(slacks))}"
            found.append(Condition(f"({name})", f"{held} of {len(slacks)}", ends, where))
    known = _with(lines, HELD)
    if known:
        where = _where(groups, HELD, lambda flag: flag == 1.0)
        found.append(Condition("all four", f"{_held(known)} of {len(known)}", "", where))
    return found


def _where(groups: Sequence[SeedGroup], key: str, holds: Callable[[float], bool]) -> str:
    """The groups of seeds in which a condition holds, in words."""

    def held(line: TrialOutcome) -> bool | None:
        return holds(line.summary[key]) if key in line.summary else None

    answers = [answer for answer in _by_group(groups, held) if answer[2]]
    some = [(name, held, known) for name, held, known in answers if held]
    if not some:
        return "nowhere"
    if all(held == known for _, held, known in answers):
        return "everywhere"
    return _names(
        [
            name if held == known else f"{name} ({held} of {known} trials)"
            for name, held, known in some
        ]
    )


def _by_group(
    groups: Sequence[SeedGroup], held: Callable[[TrialOutcome], bool | None]
) -> list[tuple[str, int, int]]:
    """Name of each group of seeds, the trials in which it held, and those of which it is known."""
    found = []
    for cell in groups:
        answers = [answer for line in cell.lines if (answer := held(line)) is not None]
        found.append((cell.name, sum(answers), len(answers)))
    return found


def _names(names: Sequence[str]) -> str:
    if len(names) <= MOST_NAMES:
        return listed(names)
    return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES} more"


def _with(lines: Sequence[TrialOutcome], key: str) -> list[TrialOutcome]:
    return [line for line in lines if key in line.summary]


def _held(known: Sequence[TrialOutcome]) -> int:
    return sum(line.summary[HELD] == 1.0 for line in known)


def _median(lines: Sequence[TrialOutcome], key: str) -> float:
    return statistics.median(line.summary[key] for line in lines)


def _some(medians: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_VALUES of them, the first and the last included."""
    last = len(medians) - 1
    if last < MOST_VALUES:
        return medians
    return [medians[round(i * last / (MOST_VALUES - 1))] for i in range(MOST_VALUES)]


def _value(value: float) -> str:
    return value_text(int(value) if value == int(value) else value)


def _off(ratio: float) -> str:
    return f"{abs(ratio - 1) * 100:.2g} %"
