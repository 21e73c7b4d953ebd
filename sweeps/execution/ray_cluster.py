"""Connects to a Ray to train on: a new one on this machine, or an existing cluster."""

import contextlib
import importlib.util
import logging
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
import ray._private.worker
from ray.exceptions import NodeDiedError, RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.config.request import ClusterConfig
from sweeps.errors import ConfigError
from sweeps.execution import local_ray
from sweeps.execution.git import code_version
from sweeps.execution.own_ray import OwnRay
from sweeps.execution.retry import Packs
from sweeps.execution.versions import PINNED, local_versions, mismatch
from sweeps.redaction import without_secrets

# Seconds that a node's inspection may take; the first time, the node unpacks the code.
INSPECTION = 90

Code = dict[str, str]  # as `git.code_version` returns it


@contextlib.contextmanager
def ready(config: ClusterConfig, packs: Packs, folder: Path, own: OwnRay) -> Iterator[Code | None]:
    """Connect to a Ray that can train these packs, while the block runs.

    Args:
        config: the cluster.
        packs: the packs.
        folder: the sweep's folder under the output root.
        own: the Ray of this machine, for a sweep without a cluster.

    Yields:
        The version of the code that was sent to the workers; None if they run the same files
        as this process.

    Raises:
        ConfigError: no node has the resources of a trial; on a cluster, a node has other
            versions or does not see the files.
    """
    # Ray would print how a worker died; here that becomes the trial's error.
    ray._private.worker.print_to_stdstream = lambda *args, **kwargs: None
    with _joined(config, packs, folder) if config.name == "ray" else own.ready():
        nodes = [node for node in ray.nodes() if node["Alive"] and fits(config, node["Resources"])]
        if not nodes:
            raise ConfigError(too_much(config, [n["Resources"] for n in ray.nodes()]))
        if config.name == "ray":
            _inspect(nodes, folder, _files(packs))
        yield code_version() if config.name == "ray" else None


def needs(config: ClusterConfig) -> dict[str, float]:
    """Return the resources of one pack, by Tune's names."""
    processors = {"cpu": float(config.cpus_per_trial), "gpu": config.gpus_per_trial}
    return processors | {"memory": config.memory_gb_per_trial * 1e9} | config.resources


@contextlib.contextmanager
def _joined(config: ClusterConfig, packs: Packs, folder: Path) -> Iterator[None]:
    """Join the cluster, and send this code to its workers.

    The packages come from the image or environment of a node. The code is sent with the sweep,
    since two checkouts of the same version may differ.
    """
    activations = {trial.plain["model"]["activation"] for pack in packs for trial in pack}
    modules = {name.partition(":")[0].split(".")[0] for name in activations if ":" in name}
    sources = [_source(name) for name in ("deq", "sweeps", *sorted(modules))]
    caches = str(folder.parent.parent.resolve() / "matplotlib")
    try:
        with local_ray.own_signals():
            ray.init(
                address=config.address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={
                    "py_modules": sources,
                    "excludes": ["__pycache__/"],
                    "env_vars": {"MPLCONFIGDIR": caches},
                },
            )
        yield
    except (RayError, ConnectionError) as error:
        raise ConfigError(f"cluster.address={config.address}: {_one_line(error)}") from error
    finally:
        local_ray.leave()


def _source(module: str) -> str:
    """Return the folder or file of a module."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    origin = Path(spec.origin)
    return str(origin.parent if origin.name == "__init__.py" else origin)


def fits(config: ClusterConfig, resources: Mapping[str, float]) -> bool:
    """Return whether a node with these resources can train a trial."""
    available = {_tune_name(name): amount for name, amount in resources.items()}
    return all(available.get(name, 0) >= amount for name, amount in needs(config).items())


def _tune_name(name: str) -> str:
    return name.lower() if name in ("CPU", "GPU") else name


def too_much(config: ClusterConfig, nodes: Sequence[Mapping[str, float]]) -> str:
    """Return one line: what a trial asks for, and the most that any of these nodes has of it."""
    wanted = [f"{name} {amount:g}" for name, amount in needs(config).items() if amount]
    most = {
        name: max(node.get(key, 0) for node in nodes)
        for name in needs(config)
        for key in [name.upper() if name in ("cpu", "gpu") else name]
    }
    available = ", ".join(f"{name} {amount:g}" for name, amount in most.items())
    return (
        f"no node has what a trial asks for ({', '.join(wanted)}); the most that one has is "
        f"{available}: lower cluster.*_per_trial or cluster.resources"
    )


def answers(timeout: float = 1.0) -> bool:
    """Return whether the head of the Ray that this process is connected to takes connections.

    Ray itself waits for a lost head for a minute.
    """
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout).close()
    except OSError:
        return False
    return True


def _files(packs: Packs) -> list[str]:
    """Return the paths of the files of the packs' data sets."""
    data = [trial.plain["data"] for pack in packs for trial in pack]
    paths = {part.get(key, "") for part in data for key in ("path", "cache")}
    return sorted(path for path in paths if path and Path(path).exists())


def _inspect(nodes: list[dict[str, Any]], folder: Path, files: list[str]) -> None:
    """Check the versions of every node, and that it sees the output root and the data files.

    Raises:
        ConfigError: a node has other versions, or does not see a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    marker = (folder / ".shared").resolve()
    token = secrets.token_hex(8)
    marker.write_text(token)
    try:
        answers = {_name(node): _ask(node, marker, files) for node in nodes}
        for name, answer in answers.items():
            try:
                versions, read, missing = ray.get(answer, timeout=INSPECTION)
            except (TaskUnschedulableError, NodeDiedError):
                continue  # the node has just died; the cluster takes seconds to notice
            if wrong := mismatch(local_versions(), versions):
                raise ConfigError(f"node {name} of the cluster: {wrong}")
            if read != token:
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
    """Start the inspection of a node; as a closure, it needs no code of ours on the node."""

    def inspected(marker: str, files: list[str], names: tuple[str, ...]) -> Any:
        import platform
        from importlib.metadata import PackageNotFoundError, version
        from pathlib import Path

        versions = {"Python": platform.python_version()}
        for name in names:
            try:
                versions[name] = version(name).partition("+")[0]
            except PackageNotFoundError:
                versions[name] = "none"
        file = Path(marker)
        read = file.read_text() if file.exists() else ""
        return versions, read, [name for name in files if not Path(name).exists()]

    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(inspected)
    return task.options(scheduling_strategy=strategy).remote(str(marker), files, PINNED)


def _one_line(error: BaseException) -> str:
    return without_secrets(" ".join(str(error).split()))[:300]
