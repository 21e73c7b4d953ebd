"""Names of summary metrics, and conditions such as `rate/measured >= 0.1`."""

import operator
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.config.misspellings import nearest
from sweeps.metrics import STOPPED, SUMMARY

METRICS = tuple(metric.name for metric in (*SUMMARY, *STOPPED))
STABLE = "stable"
# Statuses of results that are not stable: no loss was found that stays finite.
_UNSTABLE = ("diverged", "ill_posed", "rejected")
_RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"\s*(\S+?)\s*(<=|>=|<|>)\s*(\S+)\s*")


def check_metric(name: str) -> None:
    """Raise ValueError unless this is the name of a summary metric."""
    if name not in METRICS:
        hint = nearest(name, METRICS, none="docs/reference.md, Summary metrics, lists them")
        raise ValueError(f"there is no metric {name!r}{hint}")


def mean(metric: str, summaries: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean of a metric over seeds; None when a seed lacks it, as after divergence."""
    values = [summary[metric] for summary in summaries if metric in summary]
    return statistics.fmean(values) if values and len(values) == len(summaries) else None


@dataclass(frozen=True)
class Condition:
    """Condition on a trial's result.

    Attributes:
        metric: a summary metric; empty for STABLE, that is neither diverged nor ill posed.
        relation: <=, >=, < or >.
        bound: number that the metric is compared with.
    """

    metric: str = ""
    relation: str = ">="
    bound: float = 0.0

    @classmethod
    def read(cls, text: str) -> "Condition":
        """Parse `stable` or `METRIC >= NUMBER`.

        Raises:
            ValueError: the text is no condition, or there is no such metric.
        """
        if text.strip() == STABLE:
            return cls()
        match = _CONDITION.fullmatch(text)
        try:
            metric, relation, bound = match.groups() if match else ("", "", "")
            condition = cls(metric, relation, float(bound))
        except ValueError as error:
            raise ValueError(
                f"{text!r} is no condition: give {STABLE}, or a metric, <=, >=, < or >, and a "
                'number, as in "theory/slack_7 >= 1"'
            ) from error
        check_metric(metric)
        return condition

    def held(self, status: str, summary: Mapping[str, Any]) -> bool:
        """Return whether a result meets the condition; one without the metric never does."""
        if not self.metric:
            return status not in _UNSTABLE
        value = summary.get(self.metric)
        return value is not None and _RELATIONS[self.relation](value, self.bound)
