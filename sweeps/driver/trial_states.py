"""What is known of a sweep's trials, and the lines that say it."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from sweeps.config.request import LaunchConfig, search_from_plain
from sweeps.config.search import SearchConfig, is_adaptive
from sweeps.planning.outcomes import FAILED, MISSING, STOPPED_BY_PERSON, TrialOutcome
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.ledger import Failure, Ledger, Result, SweepEntry, reading
from sweeps.storage.output_root import LEDGER, require_record
from sweeps.storage.prefixes import one_sweep
from sweeps.tracking.tracker import Tracker


@dataclass(frozen=True)
class TrialStates:
    """What is known of trials."""

    results: dict[str, Result] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    @property
    def ended(self) -> set[str]:
        """Trials that have a result, or that it is of no use to try again."""
        return {*self.results, *(h for h, f in self.failures.items() if f.final)}

    def __or__(self, other: "TrialStates") -> "TrialStates":
        """Both; of one trial what the other says."""
        return TrialStates(self.results | other.results, self.failures | other.failures)


def load_states(
    trials: list[PlannedTrial],
    ledger: Ledger,
    tracker: Tracker | None = None,
    experiment: str = "",
    *,
    sweep: str,
) -> TrialStates:
    """What the ledger knows, and MLflow of what the ledger does not (another machine's work).

    What this sweep stopped early is known too: it is not begun again.
    """
    hashes = {trial.config_hash for trial in trials}
    results = ledger.results(hashes, sweep) | ledger.results(hashes)
    if tracker:
        results |= tracker.finished(experiment, hashes - set(results))
    return TrialStates(results, ledger.failures(hashes))


def outcomes_of(
    trials: list[PlannedTrial], reused: Collection[str], known: TrialStates
) -> list[TrialOutcome]:
    """A line for each trial, from what is known of it."""
    lines = []
    for trial in trials:
        result = known.results.get(trial.config_hash)
        failure = known.failures.get(trial.config_hash)
        if result:
            used = trial.config_hash in reused
            lines.append(TrialOutcome(trial, result.status, result.summary, reused=used))
        elif failure:
            status = STOPPED_BY_PERSON if failure.stopped else FAILED
            lines.append(TrialOutcome(trial, status, error=failure.error))
        else:
            lines.append(TrialOutcome(trial, MISSING))
    return lines


def planned_of(entry: SweepEntry) -> list[PlannedTrial]:
    """The trials of a sweep that was recorded."""
    return [PlannedTrial(**trial) for trial in entry.spec["trials"]]


def asked_before(ledger: Ledger, launch: LaunchConfig, sweep: str) -> list[PlannedTrial]:
    """Trials that the search of a sweep has asked for so far, in their order."""
    if not is_adaptive(launch.search):
        return []
    return max(map(planned_of, ledger.sweeps_like(sweep)), key=len, default=[])


def outcomes_of_entry(
    entry: SweepEntry, ledger: Ledger, tracker: Tracker | None = None
) -> list[TrialOutcome]:
    """A line for each trial of a sweep that was recorded, from what is known of it now."""
    trials = planned_of(entry)
    known = load_states(trials, ledger, tracker, entry.experiment, sweep=entry.sweep)
    return outcomes_of(trials, entry.spec["reused"], known)


def search_of(entry: SweepEntry) -> SearchConfig:
    """Search settings of a recorded sweep."""
    return search_from_plain(entry.spec.get("launch", {}).get("search", {"name": "grid"}))


def only(found: list[SweepEntry], prefix: str) -> SweepEntry:
    """The one sweep a prefix names; of several studies with that set of trials, the latest.

    Raises:
        ConfigError: no sweep, or more than one, begins so.
    """
    names = {entry.sweep: entry for entry in found}
    return names[one_sweep(names, prefix)]


def outcomes_of_sweep(prefix: str, output: Path) -> list[TrialOutcome]:
    """What the ledger knows of a sweep's trials.

    Raises:
        ConfigError: no sweep, or more than one, begins with this prefix.
    """
    require_record(output)
    with reading(output / LEDGER) as ledger:
        return outcomes_of_entry(only(ledger.sweeps_like(prefix), prefix), ledger)
