"""Connects to a Ray to train on: a new one on this machine, or an existing cluster."""

import contextlib
import importlib.util
import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import ray._private.worker
from ray.exceptions import NodeDiedError, RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeps.config.launch import ClusterConfig
from sweeps.errors import ConfigError
from sweeps.execution import local_ray
from sweeps.execution.git import code_version
from sweeps.execution.own_ray import OwnRay
from sweeps.execution.resources import fits, too_much
from sweeps.execution.retry import Packs
from sweeps.execution.versions import PINNED, local_versions, mismatch
from sweeps.redaction import without_secrets

# Seconds that a node's inspection may take; the first time, the node unpacks the code.
INSPECTION = 90

Code = dict[str, str]  # as `git.code_version` returns it


@contextlib.contextmanager
def ready(
    config: ClusterConfig, packs: Packs, folder: Path, own: OwnRay, device: str
) -> Iterator[Code | None]:
    """Connect to a Ray that can train these packs, while the block runs.

    Args:
        config: the cluster.
        packs: the packs.
        folder: the sweep's folder under the output root.
        own: the Ray of this machine, for a sweep without a cluster.
        device: cpu or cuda; where the workers train.

    Yields:
        The version of the code that was sent to the workers; None if they run the same files
        as this process.

    Raises:
        ConfigError: no node has the resources of a trial; on a cluster, a node has other
            versions, does not see the files, or cannot train on the device.
    """
    # Ray would print how a worker died; here that becomes the trial's error.
    ray._private.worker.print_to_stdstream = lambda *args, **kwargs: None
    with _joined(config, packs, folder) if config.name == "ray" else own.ready():
        nodes = [node for node in ray.nodes() if node["Alive"] and fits(config, node["Resources"])]
        if not nodes:
            raise ConfigError(too_much(config, [n["Resources"] for n in ray.nodes()]))
        if config.name == "ray":
            _inspect(nodes, folder, _files(packs), device)
        yield code_version() if config.name == "ray" else None


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


def _files(packs: Packs) -> list[str]:
    """Return the paths of the files of the packs' data sets."""
    data = [trial.plain["data"] for pack in packs for trial in pack]
    paths = {part.get(key, "") for part in data for key in ("path", "cache")}
    return sorted(path for path in paths if path and Path(path).exists())


def _inspect(nodes: list[dict[str, Any]], folder: Path, files: list[str], device: str) -> None:
    """Check the versions of every node, and that it sees the output root and the data files.

    Raises:
        ConfigError: a node has other versions, does not see a file, or is to train on GPUs with
            a torch that is built for the CPU only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    marker = (folder / ".shared").resolve()
    token = secrets.token_hex(8)
    marker.write_text(token)
    try:
        answers = {_name(node): _ask(node, marker, files) for node in nodes}
        for name, answer in answers.items():
            try:
                versions, build, read, missing = ray.get(answer, timeout=INSPECTION)
            except (TaskUnschedulableError, NodeDiedError):
                continue  # the node has just died; the cluster takes seconds to notice
            if wrong := mismatch(local_versions(), versions):
                raise ConfigError(f"node {name} of the cluster: {wrong}")
            if device != "cpu" and build == "cpu":
                raise ConfigError(
                    f"node {name} of the cluster: its torch is built for the CPU, and a trial asks "
                    "for a GPU: install a torch built for CUDA there, or leave "
                    "cluster.gpus_per_trial at 0"
                )
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

        versions, builds = {"Python": platform.python_version()}, {}
        for name in names:  # as `local_versions`, which a node with other code may lack
            try:
                versions[name], _, builds[name] = version(name).partition("+")
            except PackageNotFoundError:
                versions[name] = "none"
        file = Path(marker)
        read = file.read_text() if file.exists() else ""
        unseen = [name for name in files if not Path(name).exists()]
        return versions, builds.get("torch", ""), read, unseen

    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(inspected)
    return task.options(scheduling_strategy=strategy).remote(str(marker), files, PINNED)


def _one_line(error: BaseException) -> str:
    return without_secrets(" ".join(str(error).split()))[:300]
