"""Plan of a sweep: hashes of its trials, which of them are finished, packs of the others."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal

import deq
from sweeps.config.hashing import both_hashes, set_hash
from sweeps.config.request import Request, trial_from_plain, trial_to_plain
from sweeps.config.texts import format_bytes
from sweeps.errors import ConfigError
from sweeps.planning.groups import grouped
from sweeps.planning.labels import Labels
from sweeps.planning.packs import split_pack

# Keys on which all trials of a pack agree. The budget is one of them, so that they end together.
_SHARED = (*deq.PACK_KEYS, "data", "train.steps")


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a sweep.

    Attributes:
        config_hash: its identity.
        cell_hash: its identity without the seed.
        name: short name that states the varying values.
        varying: values of the sweep's axes, by key.
        plain: its config as a nested dict.
        bytes: its peak memory.
        pack: largest number of trials of its shape that is worth training together.
    """

    config_hash: str
    cell_hash: str
    name: str
    varying: dict[str, Any]
    plain: dict[str, Any]
    bytes: int = 0
    pack: int = 1

    @property
    def short_hash(self) -> str:
        """First 12 digits of its config hash; every command accepts them."""
        return self.config_hash[:12]


@dataclass(frozen=True)
class Plan:
    """A sweep's trials, and the packs of those that are to be trained.

    Attributes:
        sweep: the sweep's name.
        study: the MLflow experiment that it is recorded in.
        trials: all of them, in the order of the axes.
        finished: hashes of the trials that have a result.
        failed: hashes of the trials that failed before and are not retried.
        packs: trials to train, in packs.
        more: upper bound of the trials that a search will still ask for after these.
    """

    sweep: str
    study: str
    trials: list[PlannedTrial]
    finished: frozenset[str]
    failed: frozenset[str]
    packs: list[list[PlannedTrial]]
    more: int = 0

    @property
    def left(self) -> int:
        """Number of trials to train."""
        return sum(len(pack) for pack in self.packs)

    @property
    def hashes(self) -> list[list[str]]:
        """Config hashes of the trials in each pack."""
        return [[trial.config_hash for trial in pack] for pack in self.packs]

    def state(self, trial: PlannedTrial) -> str:
        """State of a trial in this plan: finished, failed before, or to train."""
        if trial.config_hash in self.finished:
            return "finished"
        return "failed before" if trial.config_hash in self.failed else "to train"


def trials_of(request: Request, among: Iterable[str] = ()) -> list[PlannedTrial]:
    """Trials of a request, with hashes and names, without duplicates.

    Args:
        request: the composed command.
        among: further keys that vary in the sweep; keys are shortened so that they differ
            from these too.

    Raises:
        ConfigError: a trial does not fit into the memory of the machine that is to run it.
    """
    cluster = request.launch.cluster
    on_gpu = cluster.gpus_per_trial > 0 and bool(deq.hardware()["gpu"])
    device = "cuda" if on_gpu else "cpu"
    # Packs that share a GPU share its memory.
    share = min(1.0, cluster.gpus_per_trial) if on_gpu else 1.0
    # The memory of another machine is not known here.
    here = cluster.name in ("local", "inline")
    limit = share * deq.memory_of(device) if here else None
    labels = Labels([*among, *(key for composed in request.trials for key in composed.varying)])
    by_hash: dict[str, PlannedTrial] = {}
    for composed in request.trials:
        digest, cell = both_hashes(composed.trial)
        if digest not in by_hash:
            by_hash[digest] = PlannedTrial(
                config_hash=digest,
                cell_hash=cell,
                name=labels(composed.varying),
                varying=composed.varying,
                plain=trial_to_plain(composed.trial),
                bytes=deq.memory(composed.trial, *composed.shape, device),
                pack=deq.pack_size(composed.trial, *composed.shape, device, share),
            )
            _refuse_too_large(by_hash[digest], limit)
    return list(by_hash.values())


def plan(
    trials: list[PlannedTrial],
    *,
    study: str,
    pack: int | Literal["auto"] = "auto",
    workers: int = 1,
    finished: Collection[str] = (),
    failed: Collection[str] = (),
    checkpointed: Iterable[Sequence[str]] = (),
    sweep: str = "",
    more: int = 0,
) -> Plan:
    """Plan a sweep: leave out finished and failed trials, and pack the others.

    Args:
        trials: all trials of the sweep.
        study: the MLflow experiment that it is recorded in.
        pack: most trials in a pack; auto: as many as are worth it, but so few that every
            worker gets two packs.
        workers: number of packs that train at a time.
        finished: hashes of trials that have a result.
        failed: hashes of trials that failed and are not retried.
        checkpointed: hashes of packs that have a checkpoint; each stays one pack if possible.
        sweep: the sweep's name; when empty, the hash of the set of these trials.
        more: upper bound of the trials that a search will still ask for.
    """
    skip = set(finished) | set(failed)
    left = {trial.config_hash: trial for trial in trials if trial.config_hash not in skip}
    share = math.ceil(len(left) / (2 * workers))
    resumed = []
    for hashes in checkpointed:
        if hashes and left.keys() >= set(hashes) and (pack == "auto" or len(hashes) <= pack):
            resumed.append([left.pop(digest) for digest in hashes])
    return Plan(
        sweep=sweep or set_hash([trial.config_hash for trial in trials]),
        study=study,
        trials=trials,
        finished=frozenset(finished),
        failed=frozenset(failed) - frozenset(finished),
        packs=_longest_first(resumed + _packs(list(left.values()), pack, share)),
        more=more,
    )


def cost(plain: dict[str, Any]) -> float:
    """Relative cost of a trial: width^2 n steps."""
    width, n, steps = plain["model"]["width"], plain["data"]["n"], plain["train"]["steps"]
    return float(width**2 * n * steps)


def integrator_cost(trial: PlannedTrial) -> deq.IntegratorCost:
    """Estimated products of a trial with either integrator."""
    return deq.integrator_cost(trial_from_plain(trial.plain), trial.plain["data"]["n"])


def axes_of(varying: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Values of every key that varies, without duplicates, in order of appearance."""
    axes: dict[str, dict[str, Any]] = {}
    for values in varying:
        for key, value in values.items():
            axes.setdefault(key, {}).setdefault(repr(value), value)
    return {key: list(values.values()) for key, values in axes.items()}


def main_axis(
    varying: Sequence[dict[str, Any]], kind: type | UnionType = int | float
) -> str | None:
    """Key with the most different numbers, seeds excluded; None when there is none.

    Args:
        varying: values of the sweep's axes, of each trial.
        kind: type of numbers that count; every trial must have one at the key.
    """
    numbers = {
        key: values
        for key, values in axes_of(varying).items()
        if key.rsplit(".", 1)[-1] != "seed" and all(_is_number(value, kind) for value in values)
    }
    common = [key for key in numbers if all(key in values for values in varying)]
    return max(common, key=lambda key: len(numbers[key]), default=None)


def _is_number(value: Any, kind: type | UnionType) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _refuse_too_large(trial: PlannedTrial, limit: float | None) -> None:
    if limit is not None and trial.bytes > limit:
        less = "take dtype=float32, " if trial.plain["dtype"] == "float64" else ""
        raise ConfigError(
            f"{trial.name}: model.width={trial.plain['model']['width']} needs "
            f"{format_bytes(trial.bytes)} of memory, and there are {format_bytes(limit)}: lower "
            f"model.width or data.n, {less}or take a larger machine"
        )


def _value(plain: Any, key: str) -> Any:
    """Value at a dotted key; None where a trial of an earlier version has no such key."""
    for part in key.split("."):
        plain = plain.get(part) if isinstance(plain, dict) else None
    return plain


def _packs(
    trials: Sequence[PlannedTrial], size: int | Literal["auto"], share: int
) -> list[list[PlannedTrial]]:
    """Packs of trials that can train together, at most `size` or, with auto, `share` in each."""
    packs = []
    for _, group in grouped(trials, lambda trial: [_value(trial.plain, key) for key in _SHARED]):
        most = max(1, min(group[0].pack, share)) if size == "auto" else size
        packs += split_pack(group, most)
    return packs


def _longest_first(packs: list[list[PlannedTrial]]) -> list[list[PlannedTrial]]:
    """Sort packs by cost, so that no worker trains a long one alone at the end."""
    return sorted(packs, key=lambda pack: -cost(pack[0].plain) * len(pack))
