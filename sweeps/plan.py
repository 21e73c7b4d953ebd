"""From composed trials to what is left to do: hashes, what is finished, packs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.config import Composed, Request, trial_to_plain
from sweeps.identity import cell_hash, config_hash, set_hash
from sweeps.ledger import Ledger
from sweeps.record import label


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a sweep."""

    config_hash: str
    cell_hash: str
    name: str
    varying: dict[str, Any]
    plain: dict[str, Any]
    finished: bool


@dataclass(frozen=True)
class Plan:
    """A sweep: its trials, and the packs of those that are left."""

    sweep: str
    study: str
    trials: list[PlannedTrial]
    packs: list[list[PlannedTrial]]

    @property
    def reused(self) -> int:
        """How many trials were finished before."""
        return sum(trial.finished for trial in self.trials)


def plan(request: Request, ledger: Ledger | None) -> Plan:
    """Name every trial by its hash, drop repeats, and pack what is not finished."""
    by_hash: dict[str, Composed] = {}
    for composed in request.trials:
        by_hash.setdefault(config_hash(composed.trial), composed)
    done = ledger.finished(by_hash) if ledger else set()
    trials = [
        PlannedTrial(
            config_hash=digest,
            cell_hash=cell_hash(composed.trial),
            name=label(composed.varying),
            varying=composed.varying,
            plain=trial_to_plain(composed.trial),
            finished=digest in done,
        )
        for digest, composed in by_hash.items()
    ]
    left = [trial for trial in trials if not trial.finished]
    packs = _packs(left, request.launch.pack)
    return Plan(set_hash(list(by_hash)), request.launch.study, trials, packs)


def _packs(trials: Sequence[PlannedTrial], size: int) -> list[list[PlannedTrial]]:
    """Trials of one shape together, at most `size` in a pack, the largest packs first."""
    alike: dict[str, list[PlannedTrial]] = {}
    for trial in trials:
        alike.setdefault(_likeness(trial.plain), []).append(trial)
    packs = [group[i : i + size] for group in alike.values() for i in range(0, len(group), size)]
    # The longest first, so that no worker is left alone with one at the end.
    return sorted(packs, key=lambda pack: -_cost(pack[0].plain) * len(pack))


def _likeness(plain: dict[str, Any]) -> str:
    model = plain["model"]
    rest = {key: plain[key] for key in ("data", "train", "solver", "diagnostics", "dtype")}
    rest["train"] = {"steps": plain["train"]["steps"]}
    return repr((model["width"], model["activation"], rest))


def _cost(plain: dict[str, Any]) -> float:
    cost: float = plain["model"]["width"] ** 2 * plain["data"]["n"] * plain["train"]["steps"]
    return cost
