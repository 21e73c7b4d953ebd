"""Resources of a pack, and the nodes that have them, by the names of Ray and of Tune."""

import math
import os
from collections.abc import Mapping, Sequence

from deq.linalg.hardware import gpu_count
from sweeps.config.launch import SMALLEST, ClusterConfig
from sweeps.config.nested import format_bytes


def needs(config: ClusterConfig) -> dict[str, float]:
    """Return the resources of one pack, by Tune's names."""
    processors = {"cpu": float(config.cpus_per_trial), "gpu": config.gpus_per_trial}
    return processors | {"memory": config.memory_gb_per_trial * 1e9} | config.resources


def fits(config: ClusterConfig, resources: Mapping[str, float]) -> bool:
    """Return whether a node with these resources can train a trial."""
    available = {_tune_name(name): amount for name, amount in resources.items()}
    return all(available.get(name, 0) >= amount for name, amount in needs(config).items())


def _tune_name(name: str) -> str:
    return name.lower() if name in ("CPU", "GPU") else name


def too_much(config: ClusterConfig, nodes: Sequence[Mapping[str, float]]) -> str:
    """Return one line: what a trial asks for, and the most that any of these nodes has of it."""
    wanted = [_text(name, amount) for name, amount in needs(config).items() if amount]
    most = {
        name: max(node.get(key, 0) for node in nodes)
        for name in needs(config)
        for key in [name.upper() if name in ("cpu", "gpu") else name]
    }
    available = ", ".join(_text(name, amount) for name, amount in most.items())
    return (
        f"no node has what a trial asks for ({', '.join(wanted)}); the most that one has is "
        f"{available}: lower cluster.*_per_trial or cluster.resources"
    )


def _text(name: str, amount: float) -> str:
    return f"{name} {format_bytes(amount) if name == 'memory' else f'{amount:g}'}"


def local_workers(config: ClusterConfig) -> int:
    """Return the number of packs that train at a time on this machine."""
    if config.name == "inline":
        return 1
    gpus = gpu_count() if config.gpus_per_trial else 0
    return max(1, places(config, {"CPU": os.cpu_count() or 1, "GPU": gpus}))


def places(config: ClusterConfig, resources: Mapping[str, float]) -> int:
    """Return the number of packs that train at a time on a node with these resources.

    Resources that are not listed are not considered.
    """
    available = {_tune_name(name): amount for name, amount in resources.items()}
    wanted = {name: amount for name, amount in needs(config).items() if amount}
    return min(
        _times(available[name], amount, shared=name == "gpu")
        for name, amount in wanted.items()
        if name in available
    )


def _times(available: float, wanted: float, *, shared: bool) -> int:
    """Return how often an amount is available; a fraction of a GPU is all of one GPU."""
    if shared and wanted < 1:
        return math.floor(available) * (round(1 / SMALLEST) // round(wanted / SMALLEST))
    return math.floor((available + SMALLEST / 2) / wanted)
