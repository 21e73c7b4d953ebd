"""The summary metrics that a finished trial may have, and a condition on one."""

import operator
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.config.nested import nearest
from sweeps.metrics import STOPPED, SUMMARY

METRICS = tuple(metric.name for metric in (*SUMMARY, *STOPPED))
STABLE = "stable"
_RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"\s*(\S+?)\s*(<=|>=|<|>)\s*(\S+)\s*")


def check_metric(name: str) -> None:
    """Raise ValueError unless a trial may have a metric of this name."""
    if name not in METRICS:
        hint = nearest(name, METRICS).removesuffix(": `sweeps show` prints all keys")
        raise ValueError(f"there is no metric {name!r}{hint or ', see the README for them'}")


def mean(metric: str, summaries: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean of a metric over the summaries of seeds; None when one has none, as after divergence."""
    values = [summary[metric] for summary in summaries if metric in summary]
    return statistics.fmean(values) if values and len(values) == len(summaries) else None


@dataclass(frozen=True)
class Condition:
    """What a trial's result meets or not.

    Attributes:
        metric: a summary metric; empty for STABLE, neither diverged nor ill posed.
        relation: <=, >=, < or >.
        bound: what it is compared with.
    """

    metric: str = ""
    relation: str = ">="
    bound: float = 0.0

    @classmethod
    def read(cls, text: str) -> "Condition":
        """The condition that `stable` or `METRIC >= NUMBER` means.

        Raises:
            ValueError: it means none, or there is no such metric.
        """
        if text.strip() == STABLE:
            return cls()
        found = _CONDITION.fullmatch(text)
        try:
            metric, relation, bound = found.groups() if found else ("", "", "")
            condition = cls(metric, relation, float(bound))
        except ValueError as error:
            raise ValueError(
                f"{text!r} is no condition: give {STABLE}, or a metric, <=, >=, < or >, and a "
                'number, as in "theory/slack_7 >= 1"'
            ) from error
        check_metric(metric)
        return condition

    def held(self, status: str, summary: Mapping[str, Any]) -> bool:
        """Whether a result meets it; one without the metric, as after divergence, does not."""
        if not self.metric:
            return status not in ("diverged", "ill_posed")
        value = summary.get(self.metric)
        return value is not None and _RELATIONS[self.relation](value, self.bound)
