"""A search by the recipe of CONTRIBUTING.md: one row in the registry is all that it needs."""

import dataclasses

from imagined import Imagined

from sweeps.config.search import BaseSearch
from sweeps.config.space import Interval
from sweeps.reports.figures import FIGURES, Study
from sweeps.reports.html_report import ReportHeader, files
from sweeps.search.base import SearchSummary
from sweeps.search.registry import KINDS, SearchKind, summarize
from sweeps.tracking import sweep_metrics


@dataclasses.dataclass(frozen=True)
class EndsConfig(BaseSearch):
    """Config of a search by the recipe of CONTRIBUTING.md: the low end, and then the high one."""

    adaptive = True
    name: str = "ends"
    space: dict = dataclasses.field(default_factory=dict)


class Ends:
    """Tries one end of the interval in each of two rounds."""

    def __init__(self, config, cells, propose, asked):
        ((self.key, interval),) = config.space.items()
        self.left, self.cells, self.propose = [interval.low, interval.high], cells, propose

    @property
    def more(self):
        return len(self.left) * len(self.cells)

    def ask(self):
        if not self.left:
            return []
        value = self.left.pop(0)
        return [self.propose(cell, {self.key: value}) for cell in self.cells]

    def tell(self, results):
        pass


def ends_summary(config, outcomes):
    rates = [outcome.summary["rate/measured"] for outcome in outcomes]
    rows = [
        [outcome.planned.name, str(rate)] for outcome, rate in zip(outcomes, rates, strict=True)
    ]
    return SearchSummary(
        "Rates at the ends",
        ["cell", "rate"],
        rows,
        by_cell={"ends/rate": [({"model.width": 8}, max(rates))]},
        by_step={"ends/best": [("all", [(1, rates[0])])]},
    )


def test_a_search_with_a_row_in_the_registry_gets_a_table_curves_and_a_figure(monkeypatch):
    drawn = []
    monkeypatch.setitem(KINDS, EndsConfig, SearchKind(Ends, ends_summary, "sigma_w"))
    monkeypatch.setitem(FIGURES, "sigma_w", lambda study: drawn.append(study.search) or b"png")
    imagined = Imagined(["model.width=8,16"], lambda varying: varying["train.eta"])
    search = EndsConfig(space={"train.eta": Interval(0.5, 2.0)})
    launch = dataclasses.replace(imagined.asked.launch, search=search)
    imagined.asked = dataclasses.replace(imagined.asked, launch=launch)
    lines = imagined.lines(imagined.launch())
    assert [[name[-3:] for name in names] for names in imagined.rounds] == [
        ["0.5", "0.5"],
        ["a=2", "a=2"],
    ]
    assert summarize(search, lines).brief.startswith("width=8 eta=0.5 0.5; width=16 eta=0.5 0.5; ")
    points = {point.key: point.value for point in sweep_metrics.points(lines, search)}
    assert (points["ends/rate/all"], points["ends/best/all"]) == (2.0, 0.5)
    header = ReportHeader("0" * 12, "study", "sweeps run", "rates")
    page = files(header, Study(lines, lambda digest: None, search), lines)
    assert "Rates at the ends" in page["report.html"]
    assert drawn == [search]
    assert {"sigma_w.png", "search.yaml"} <= page.keys()
