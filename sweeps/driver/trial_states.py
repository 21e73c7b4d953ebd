"""Loads the states of a sweep's trials from the ledger and MLflow, and makes outcomes of them."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from sweeps.config.launch import LaunchConfig
from sweeps.config.request import search_from_plain
from sweeps.config.search import SearchConfig
from sweeps.planning.outcomes import FAILED, MISSING, STOPPED_BY_PERSON, TrialOutcome
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.ledger import Failure, Ledger, Result, SweepEntry, reading
from sweeps.storage.output_root import LEDGER, require_record
from sweeps.storage.prefixes import check_text, one_sweep
from sweeps.tracking.tracker import Tracker


@dataclass(frozen=True)
class TrialStates:
    """Results and failures of trials, by config hash."""

    results: dict[str, Result] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    @property
    def ended(self) -> set[str]:
        """Trials that have a result, or a failure that trying again would not change."""
        return {*self.results, *(h for h, f in self.failures.items() if f.final)}

    def __or__(self, other: "TrialStates") -> "TrialStates":
        """Merge two sets of states; `other` wins on conflict."""
        return TrialStates(self.results | other.results, self.failures | other.failures)


def load_states(
    trials: list[PlannedTrial],
    ledger: Ledger,
    tracker: Tracker | None = None,
    experiment: str = "",
    *,
    sweep: str,
) -> TrialStates:
    """Load states from the ledger, and results that it lacks (of other machines) from MLflow.

    The result of a rejected trial does not count when more networks may be drawn now.

    Args:
        trials: the trials.
        ledger: the ledger.
        tracker: the MLflow to look in; None: only the ledger.
        experiment: id of the study's experiment there.
        sweep: the sweep's name; trials that it stopped early count as results.

    Raises:
        TrackingError: MLflow does not answer.
    """
    # A sweep that is starting lists its trials without their configs.
    draws = {
        trial.config_hash: trial.plain.get("model", {}).get("max_draws", 0) for trial in trials
    }
    hashes = set(draws)
    results = ledger.results(hashes, sweep) | ledger.results(hashes)
    if tracker:
        results |= tracker.finished_results(experiment, hashes - set(results))
    final = {digest: result for digest, result in results.items() if result.is_final(draws[digest])}
    return TrialStates(final, ledger.failures(hashes))


def outcomes_of(
    trials: list[PlannedTrial], reused: Collection[str], states: TrialStates
) -> list[TrialOutcome]:
    """Return the outcome of each trial.

    Args:
        trials: the trials.
        reused: hashes of the trials that had a result before the sweep was launched.
        states: results and failures.
    """
    outcomes = []
    for trial in trials:
        result = states.results.get(trial.config_hash)
        failure = states.failures.get(trial.config_hash)
        if result:
            used = trial.config_hash in reused
            outcomes.append(TrialOutcome(trial, result.status, result.summary, reused=used))
        elif failure:
            status = STOPPED_BY_PERSON if failure.stopped else FAILED
            outcomes.append(TrialOutcome(trial, status, error=failure.error))
        else:
            outcomes.append(TrialOutcome(trial, MISSING))
    return outcomes


def planned_of(entry: SweepEntry) -> list[PlannedTrial]:
    """Return the trials of a recorded sweep."""
    return [PlannedTrial(**trial) for trial in entry.spec["trials"]]


def asked_before(ledger: Ledger, launch: LaunchConfig, sweep: str) -> list[PlannedTrial]:
    """Trials that the search of a sweep has asked for so far, in their order.

    Args:
        ledger: the ledger that lists them.
        launch: the sweep's launch settings.
        sweep: the sweep's name.
    """
    if not launch.search.adaptive:
        return []
    return max(map(planned_of, ledger.sweeps_like(sweep)), key=len, default=[])


def outcomes_of_entry(
    entry: SweepEntry, ledger: Ledger, tracker: Tracker | None = None
) -> list[TrialOutcome]:
    """Return the present outcome of each trial of a recorded sweep.

    Args:
        entry: the sweep.
        ledger: the ledger.
        tracker: the MLflow to look in for results of other machines; None: only the ledger.

    Raises:
        TrackingError: MLflow does not answer.
    """
    trials = planned_of(entry)
    states = load_states(trials, ledger, tracker, entry.experiment, sweep=entry.sweep)
    return outcomes_of(trials, entry.spec["reused"], states)


def search_of(entry: SweepEntry) -> SearchConfig:
    """Return the search config of a recorded sweep."""
    return search_from_plain(entry.spec.get("launch", {}).get("search", {"name": "grid"}))


def single_sweep(entries: list[SweepEntry], prefix: str) -> SweepEntry:
    """Return the one sweep that has a prefix; the latest one if several studies have it.

    Raises:
        ConfigError: no sweep, or more than one, has this prefix.
    """
    by_name = {entry.sweep: entry for entry in entries}
    return by_name[one_sweep(by_name, prefix)]


def outcomes_of_sweep(prefix: str, output: Path) -> list[TrialOutcome]:
    """Return the outcome of each trial of a sweep, by what the ledger holds.

    Args:
        prefix: the first digits of the sweep's name.
        output: the output root.

    Raises:
        ConfigError: no sweep, or more than one, has this prefix.
    """
    check_text(prefix, "sweep's name")
    require_record(output)
    with reading(output / LEDGER) as ledger:
        return outcomes_of_entry(single_sweep(ledger.sweeps_like(prefix), prefix), ledger)
