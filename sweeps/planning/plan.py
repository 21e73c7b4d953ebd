"""From composed trials to what is left to do: hashes, what is finished, packs."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal

import deq
from sweeps.config.hashing import both_hashes, set_hash
from sweeps.config.nested import format_bytes
from sweeps.config.request import Request, trial_to_plain
from sweeps.errors import ConfigError
from sweeps.planning.labels import Labels


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a sweep.

    Attributes:
        config_hash, cell_hash: its identity, and that without the seed.
        name: a short one that says the varying values.
        varying: those values, by key.
        plain: the config that is its identity.
        bytes: what it holds at its peak.
        pack: how many of its shape are worth training together.
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
        """The first digits of its config hash, enough to name it to any command."""
        return self.config_hash[:12]


@dataclass(frozen=True)
class Plan:
    """A sweep: its trials, and the packs of those that are left.

    Attributes:
        sweep: the sweep's name.
        study: the MLflow experiment it is recorded in.
        trials: all of them, in the order of the axes.
        finished: hashes of those that have a result already.
        failed: hashes of those that raised before and are not tried again.
        packs: what is left to train.
        more: how many trials a search may yet ask for, at most, when these have results.
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
        """How many trials are to be trained."""
        return sum(len(pack) for pack in self.packs)

    @property
    def hashes(self) -> list[list[str]]:
        """Config hashes of the packs."""
        return [[trial.config_hash for trial in pack] for pack in self.packs]

    def state(self, trial: PlannedTrial) -> str:
        """What the plan makes of a trial: finished, failed before, or to train."""
        if trial.config_hash in self.finished:
            return "finished"
        return "failed before" if trial.config_hash in self.failed else "to train"


def trials_of(request: Request, among: Iterable[str] = ()) -> list[PlannedTrial]:
    """Every trial of a request, with its hashes and its name; repeats are dropped.

    Args:
        request: the composed command.
        among: further keys that vary in the sweep; names tell their keys from these too.

    Raises:
        ConfigError: one cannot fit where it is to run.
    """
    cluster = request.launch.cluster
    on_gpu = cluster.gpus_per_trial > 0 and bool(deq.hardware()["gpu"])
    device = "cuda" if on_gpu else "cpu"
    # What a machine elsewhere has is not known here.
    limit = deq.memory_of(device) if cluster.name in ("local", "inline") else None
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
                pack=deq.pack_size(composed.trial, *composed.shape, device),
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
    begun: Iterable[Sequence[str]] = (),
    sweep: str = "",
    more: int = 0,
) -> Plan:
    """Set aside what is finished or failed before, and pack the rest.

    Args:
        trials: all of the sweep.
        study: what it belongs to.
        pack: trials of one shape in a pack at most; auto: as many as are worth it, and no
            more than leave every worker two packs.
        workers: how many packs train at a time.
        finished: hashes to set aside, for they have a result.
        failed: hashes to set aside, for they raised before.
        begun: hashes of packs that have a checkpoint; they stay together where they can.
        sweep: the sweep's name; when empty, the hash of the set of these trials.
        more: how many trials a search may yet ask for.
    """
    skip = set(finished) | set(failed)
    left = {trial.config_hash: trial for trial in trials if trial.config_hash not in skip}
    share = math.ceil(len(left) / (2 * workers))
    again = []
    for hashes in begun:
        if hashes and left.keys() >= set(hashes) and (pack == "auto" or len(hashes) <= pack):
            again.append([left.pop(digest) for digest in hashes])
    return Plan(
        sweep=sweep or set_hash([trial.config_hash for trial in trials]),
        study=study,
        trials=trials,
        finished=frozenset(finished),
        failed=frozenset(failed) - frozenset(finished),
        packs=_longest_first(again + _packs(list(left.values()), pack, share)),
        more=more,
    )


def cost(plain: dict[str, Any]) -> float:
    """Relative cost of a trial: the entries its matrix products go through."""
    found: float = plain["model"]["width"] ** 2 * plain["data"]["n"] * plain["train"]["steps"]
    return found


def axes_of(varying: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """The values of every key that varies, each once, as they came."""
    axes: dict[str, dict[str, Any]] = {}
    for values in varying:
        for key, value in values.items():
            axes.setdefault(key, {}).setdefault(repr(value), value)
    return {key: list(values.values()) for key, values in axes.items()}


def main_axis(
    varying: Sequence[dict[str, Any]], kind: type | UnionType = int | float
) -> str | None:
    """The key with the most different numbers, seeds aside; None when there is none.

    Only a key counts that every trial has, with a number of this kind in each.
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


def _refuse_too_large(trial: PlannedTrial, limit: int | None) -> None:
    if limit is not None and trial.bytes > limit:
        less = "take dtype=float32, " if trial.plain["dtype"] == "float64" else ""
        raise ConfigError(
            f"{trial.name}: model.width={trial.plain['model']['width']} needs "
            f"{format_bytes(trial.bytes)} of memory, and there are {format_bytes(limit)}: lower "
            f"model.width or data.n, {less}or take a larger machine"
        )


def _packs(
    trials: Sequence[PlannedTrial], size: int | Literal["auto"], share: int
) -> list[list[PlannedTrial]]:
    """Trials of one shape together, at most `size` in a pack, the largest packs first."""
    alike: dict[str, list[PlannedTrial]] = {}
    for trial in trials:
        alike.setdefault(_likeness(trial.plain), []).append(trial)
    packs = []
    for group in alike.values():
        most = max(1, min(group[0].pack, share)) if size == "auto" else size
        packs += [group[i : i + most] for i in range(0, len(group), most)]
    return packs


def _longest_first(packs: list[list[PlannedTrial]]) -> list[list[PlannedTrial]]:
    """So that no worker is left alone with a long one at the end."""
    return sorted(packs, key=lambda pack: -cost(pack[0].plain) * len(pack))


def _likeness(plain: dict[str, Any]) -> str:
    model = plain["model"]
    rest = {key: plain[key] for key in ("data", "train", "solver", "diagnostics", "dtype")}
    rest["train"] = {"steps": plain["train"]["steps"]}
    return repr((model["width"], model["activation"], rest))
