"""A sweep as it unfolds: the trials its search has asked for, and what is known of each."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from sweeps.config.request import ClusterConfig, LaunchConfig
from sweeps.driver.trial_states import TrialStates
from sweeps.planning.plan import Plan, PlannedTrial, plan
from sweeps.search.base import Search
from sweeps.search.factory import create_search, sweep_name


class SweepState:
    """Asks a search round by round, and passes over the rounds that are known already.

    Attributes:
        sweep: the sweep's name.
        trials: all that were asked for so far, each once.
        known: what is known of them.
        reused: hashes of those that had a result when they were first asked for.
        trained: hashes of those that were trained since.
    """

    def __init__(
        self,
        launch: LaunchConfig,
        cells: list[PlannedTrial],
        look: Callable[[list[PlannedTrial]], TrialStates],
        *,
        asked: Sequence[PlannedTrial] = (),
        checkpointed: Sequence[Sequence[str]] = (),
        retry_failed: bool,
    ) -> None:
        """Nothing is asked yet.

        Args:
            launch: how to search, and for what workers to plan.
            cells: what is searched, see `start`.
            look: what is known of trials that were not trained in this launch.
            asked: trials that an earlier launch of this sweep asked for.
            checkpointed: hashes of packs that have a checkpoint.
            retry_failed: whether to train again what raised before.
        """
        self._search: Search = create_search(launch, cells, asked)
        self._launch, self._look, self._retry = launch, look, retry_failed
        self._checkpointed = checkpointed
        self.sweep = sweep_name(launch, cells)
        self.trials: list[PlannedTrial] = []
        self.known = TrialStates()
        self.reused: set[str] = set()
        self._seen: set[str] = set()
        self.trained: set[str] = set()

    def advance(self) -> Plan:
        """The plan of the next round that has something to train; no packs when none has."""
        while True:
            asked = self._search.ask()
            self._add([trial for trial in asked if trial.config_hash not in self._seen])
            planned = self._plan()
            if planned.packs or not asked:
                return planned
            self._search.tell(self.known.results)

    def learn(self, planned: Plan, known: TrialStates) -> None:
        """A round was trained, and this came of it."""
        self.trained |= {trial.config_hash for pack in planned.packs for trial in pack}
        self.known |= known
        self._search.tell(self.known.results)

    def spec(self) -> dict[str, Any]:
        """The trials asked for so far, as plain data of the ledger."""
        return {
            # Not asdict: it copies every value, for thousands of trials in seconds.
            "trials": [dict(vars(trial)) for trial in self.trials],
            "reused": sorted(self.reused),
        }

    def _add(self, trials: list[PlannedTrial]) -> None:
        new = list({trial.config_hash: trial for trial in trials}.values())
        found = self._look(new) if new else TrialStates()
        self.trials += new
        self._seen |= {trial.config_hash for trial in new}
        self.reused |= set(found.results)
        self.known |= found

    def _plan(self) -> Plan:
        failed = {
            digest
            for digest, failure in self.known.failures.items()
            if digest in self.trained or (failure.final and not self._retry)
        }
        return plan(
            self.trials,
            sweep=self.sweep,
            study=self._launch.study,
            pack=self._launch.pack,
            workers=_workers(self._launch.cluster),
            finished=self.known.results,
            failed=failed,
            checkpointed=self._checkpointed,
            more=self._search.more,
        )


def _workers(cluster: ClusterConfig) -> int:
    """How many packs train at a time on this machine; a cluster has as many at least."""
    if cluster.name == "inline":
        return 1
    return max(1, (os.cpu_count() or 1) // cluster.cpus_per_trial)
