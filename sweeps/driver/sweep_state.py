"""State of a sweep between rounds: the trials its search asked for, and the state of each."""

from collections.abc import Callable, Sequence
from typing import Any

from sweeps.config.launch import LaunchConfig
from sweeps.driver.trial_states import TrialStates
from sweeps.planning.plan import Plan, PlannedTrial, plan
from sweeps.search.base import Search
from sweeps.search.factory import create_search, sweep_name


class SweepState:
    """Asks a search for trials round by round; rounds that need no training are passed over.

    Attributes:
        sweep: the sweep's name.
        cells: the listed trials, or the cells to search.
        trials: all trials so far, each once.
        states: their results and failures.
        reused: hashes of the trials that had a result when the search first asked for them.
        trained: hashes of the trials that were trained since.
    """

    def __init__(
        self,
        launch: LaunchConfig,
        cells: list[PlannedTrial],
        lookup: Callable[[list[PlannedTrial]], TrialStates],
        *,
        asked: Sequence[PlannedTrial] = (),
        checkpointed: Sequence[Sequence[str]] = (),
        retry_failed: bool,
        workers: int = 1,
    ) -> None:
        """Begin with no trials.

        Args:
            launch: how to search, and on which workers.
            cells: the cells to search, see `search.factory.create_search`.
            lookup: loads the states of trials that this launch has not trained.
            asked: trials that an earlier launch of this sweep asked for.
            checkpointed: hashes of the trials of each pack that has a checkpoint.
            retry_failed: train failed trials again.
            workers: number of packs that train at a time.
        """
        self._launch, self._lookup, self._retry = launch, lookup, retry_failed
        self._asked, self._checkpointed, self._workers = asked, checkpointed, workers
        self.sweep, self.cells = sweep_name(launch, cells), cells
        self._begin()

    def _begin(self) -> None:
        self._search: Search = create_search(self._launch, self.cells, self._asked)
        self.trials: list[PlannedTrial] = []
        self.states = TrialStates()
        self.reused: set[str] = set()
        self.trained: set[str] = set()
        self._seen: set[str] = set()

    def next_round(self) -> Plan:
        """Plan the next round that has something to train; without packs if there is none."""
        while True:
            trials = self._search.ask()
            self._add([trial for trial in trials if trial.config_hash not in self._seen])
            planned = self._plan()
            if planned.packs or not trials:
                return planned
            self._search.tell(self.states.results)

    def with_lookup(
        self, planned: Plan, lookup: Callable[[list[PlannedTrial]], TrialStates]
    ) -> Plan:
        """Use another lookup from now on, and plan the first round anew if it knows more results.

        Args:
            planned: the first round's plan.
            lookup: as for `SweepState`.
        """
        self._lookup = lookup
        unknown = [trial for trial in self.trials if trial.config_hash not in self.states.results]
        if not unknown or not lookup(unknown).results:
            return planned
        self._begin()
        return self.next_round()

    def record_results(self, planned: Plan, states: TrialStates) -> None:
        """Take over the results of a round that was trained.

        Args:
            planned: the round's plan.
            states: results and failures of its trials.
        """
        self.trained |= {trial.config_hash for pack in planned.packs for trial in pack}
        self.states |= states
        self._search.tell(self.states.results)

    def spec(self) -> dict[str, Any]:
        """Return the trials so far, as plain data for the ledger."""
        return {
            # Not asdict: it copies every value, which takes seconds for thousands of trials.
            "trials": [dict(vars(trial)) for trial in self.trials],
            "reused": sorted(self.reused),
        }

    def _add(self, trials: list[PlannedTrial]) -> None:
        new = list({trial.config_hash: trial for trial in trials}.values())
        states = self._lookup(new) if new else TrialStates()
        self.trials += new
        self._seen |= {trial.config_hash for trial in new}
        self.reused |= set(states.results)
        self.states |= states

    def _plan(self) -> Plan:
        failed = {
            digest
            for digest, failure in self.states.failures.items()
            if digest in self.trained or (failure.final and not self._retry)
        }
        return plan(
            self.trials,
            sweep=self.sweep,
            study=self._launch.study,
            pack=self._launch.pack,
            workers=self._workers,
            finished=self.states.results,
            failed=failed,
            checkpointed=self._checkpointed,
            more=self._search.more,
        )
