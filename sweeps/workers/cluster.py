"""A Ray to train on: one of its own on this machine, or an existing cluster joined."""

import contextlib
import importlib.util
import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
import ray._private.worker
from ray.exceptions import NodeDiedError, RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.config import ClusterConfig
from sweeps.errors import ConfigError
from sweeps.git import code_version
from sweeps.redaction import without_secrets
from sweeps.workers import local
from sweeps.workers.own_ray import OwnRay
from sweeps.workers.rounds import Packs
from sweeps.workers.versions import PINNED, here, mismatch

# Seconds a node may take to say what it is; the first time it unpacks the code.
INSPECTION = 90

Code = dict[str, str]


@contextlib.contextmanager
def ready(config: ClusterConfig, packs: Packs, folder: Path, own: OwnRay) -> Iterator[Code | None]:
    """Be connected to a Ray that can train these packs: to `own`, or to a cluster.

    Yields:
        The version of the code that was shipped to the workers; None where they run the
        same files as this process.

    Raises:
        ConfigError: no node has what a trial asks for; on a cluster, a node has other
            versions or does not see the files.
    """
    # Ray prints what it has to say of a dead worker; here it is the trial's error.
    ray._private.worker.print_to_stdstream = lambda *args, **kwargs: None
    with _joined(config, packs, folder) if config.name == "ray" else own.ready():
        nodes = [node for node in ray.nodes() if node["Alive"] and fits(config, node["Resources"])]
        if not nodes:
            raise ConfigError(too_much(config, [n["Resources"] for n in ray.nodes()]))
        if config.name == "ray":
            _inspect(nodes, folder, _files(packs))
        yield code_version() if config.name == "ray" else None


def needs(config: ClusterConfig) -> dict[str, float]:
    """What one pack is given, in Tune's names."""
    own = {"cpu": float(config.cpus_per_trial), "gpu": config.gpus_per_trial}
    return own | {"memory": config.memory_gb_per_trial * 1e9} | config.resources


@contextlib.contextmanager
def _joined(config: ClusterConfig, packs: Packs, folder: Path) -> Iterator[None]:
    """The cluster, with this very code on its workers.

    The image or environment of a node brings the packages; the code travels with the
    sweep, since two checkouts may differ and say the same version.
    """
    own = {plain.plain["model"]["activation"].partition(":") for pack in packs for plain in pack}
    modules = {name.split(".")[0] for name, colon, _ in own if colon}
    places = [_place(name) for name in ("deq", "sweeps", *sorted(modules))]
    caches = str(folder.parent.parent.resolve() / "matplotlib")
    try:
        with local.own_signals():
            ray.init(
                address=config.address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={
                    "py_modules": places,
                    "excludes": ["__pycache__/"],
                    "env_vars": {"MPLCONFIGDIR": caches},
                },
            )
        yield
    except (RayError, ConnectionError) as error:
        raise ConfigError(f"cluster.address={config.address}: {_one_line(error)}") from error
    finally:
        local.leave()


def _place(module: str) -> str:
    """The folder or file of a module."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    origin = Path(spec.origin)
    return str(origin.parent if origin.name == "__init__.py" else origin)


def fits(config: ClusterConfig, resources: Mapping[str, float]) -> bool:
    """Whether a node with these resources has what a trial asks for."""
    has = {_tune_name(name): amount for name, amount in resources.items()}
    return all(has.get(name, 0) >= amount for name, amount in needs(config).items())


def _tune_name(name: str) -> str:
    return name.lower() if name in ("CPU", "GPU") else name


def too_much(config: ClusterConfig, nodes: Sequence[Mapping[str, float]]) -> str:
    """One line: what a trial asks for, and the most that any of these nodes has of it."""
    wanted = [f"{name} {amount:g}" for name, amount in needs(config).items() if amount]
    most = {
        name: max(node.get(key, 0) for node in nodes)
        for name in needs(config)
        for key in [name.upper() if name in ("cpu", "gpu") else name]
    }
    there = ", ".join(f"{name} {amount:g}" for name, amount in most.items())
    return (
        f"no node has what a trial asks for ({', '.join(wanted)}); the most that one has is "
        f"{there}: lower cluster.*_per_trial or cluster.resources"
    )


def _files(packs: Packs) -> list[str]:
    """The files that the packs' data sets lie in."""
    data = [trial.plain["data"] for pack in packs for trial in pack]
    named = {part.get(key, "") for part in data for key in ("path", "cache")}
    return sorted(name for name in named if name and Path(name).exists())


def _inspect(nodes: list[dict[str, Any]], folder: Path, files: list[str]) -> None:
    """Ask every node for its versions, and whether it sees the output root and the data.

    Raises:
        ConfigError: naming the first node that will not do, and why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    marker = (folder / ".shared").resolve()
    word = secrets.token_hex(8)
    marker.write_text(word)
    try:
        asked = {_name(node): _ask(node, marker, files) for node in nodes}
        for name, answer in asked.items():
            try:
                versions, read, missing = ray.get(answer, timeout=INSPECTION)
            except (TaskUnschedulableError, NodeDiedError):
                continue  # it has just died: the cluster takes seconds to notice
            if wrong := mismatch(here(), versions):
                raise ConfigError(f"node {name} of the cluster: {wrong}")
            if read != word:
                raise ConfigError(
                    f"node {name} of the cluster does not see paths.output={folder.parent.parent}: "
                    "give a folder that all nodes share, at the same path"
                )
            if missing:
                raise ConfigError(f"node {name} of the cluster does not see {missing[0]}")
    finally:
        marker.unlink(missing_ok=True)


def _name(node: dict[str, Any]) -> str:
    return f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})"


def _ask(node: dict[str, Any], marker: Path, files: list[str]) -> Any:
    """Start the inspection of a node; a closure, so that it needs nothing installed there."""

    def inspected(marker: str, files: list[str], names: tuple[str, ...]) -> Any:
        import platform
        from importlib.metadata import PackageNotFoundError, version
        from pathlib import Path

        found = {"Python": platform.python_version()}
        for name in names:
            try:
                found[name] = version(name).partition("+")[0]
            except PackageNotFoundError:
                found[name] = "none"
        place = Path(marker)
        read = place.read_text() if place.exists() else ""
        return found, read, [name for name in files if not Path(name).exists()]

    where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(inspected)
    return task.options(scheduling_strategy=where).remote(str(marker), files, PINNED)


def _one_line(error: BaseException) -> str:
    return without_secrets(" ".join(str(error).split()))[:300]
