"""Check versions, GPU, disk and servers before a sweep is launched."""

import importlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import deq
from sweeps import __version__
from sweeps.config.config_files import user_folders, why_unused
from sweeps.config.launch import LaunchConfig
from sweeps.errors import SweepsError
from sweeps.execution.executor import check_cluster, missing_gpus
from sweeps.execution.git import code_version
from sweeps.redaction import without_secrets
from sweeps.tracking.server import check_server

# Free disk space, in GB, below which the check fails.
MIN_FREE_DISK = 1.0


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes:
        name: what was checked.
        ok: True if a sweep can use it.
        found: its version or state, or the problem and its remedy.
    """

    name: str
    ok: bool
    found: str


def run_checks(config: LaunchConfig, config_dir: str | None = None) -> list[Check]:
    """Check everything that a sweep with this launch config would use; nothing is started.

    Args:
        config: the launch config.
        config_dir: the user's folder of config files, if the command names one.
    """
    output = Path(config.paths.output)
    checks = [
        Check("deq-sweeps", True, __version__),
        Check("Python", True, platform.python_version()),
        *(_package(name) for name in ("torch", "ray", "mlflow")),
        _gpu(config),
        _git(),
        Check("config files", True, _configs(config_dir)),
        _writable(output),
        _disk(output),
    ]
    if config.cluster.name == "ray":
        checks.append(
            _connection("cluster", config.cluster.address, lambda: check_cluster(config.cluster))
        )
    if config.tracking.name == "server":
        uri = without_secrets(config.tracking.uri)
        checks.append(_connection("tracking server", uri, lambda: check_server(config.tracking)))
    return checks


def to_json(checks: list[Check]) -> str:
    """The checks as JSON."""
    return json.dumps([asdict(check) for check in checks], indent=2)


def _package(name: str) -> Check:
    try:
        return Check(name, True, str(importlib.import_module(name).__version__))
    except Exception as error:  # a broken installation may raise anything
        return Check(name, False, f"cannot be imported: {error}")


def _gpu(config: LaunchConfig) -> Check:
    missing = missing_gpus(config.cluster)
    gpu = str(deq.hardware()["gpu"]) or "torch finds none"
    return Check("GPU", not missing, missing or gpu)


def _git() -> Check:
    """Check that the commit can be recorded with a result."""
    code = code_version()
    if refusal := code.get("error"):
        return Check("git", False, f"the commit is not recorded with results: {refusal}")
    changed = " with uncommitted changes" if code.get("diff") else ""
    return Check("git", True, f"{code['commit'][:12]}{changed}" if code else "not a git checkout")


def _configs(config_dir: str | None) -> str:
    """Folders of config files in the order of their search, with their groups."""
    folders = []
    for folder in user_folders(config_dir):
        groups = {path.parts[-2] for path in folder.glob("*/*.yaml")}
        folders.append(f"{folder} ({', '.join(sorted(groups))})")
    return "; then ".join([*folders, "sweeps' own"]) + (
        f" ({why_unused()})" if why_unused() else ""
    )


def _writable(output: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=_existing(output)):
            pass
    except OSError as error:
        return Check(
            "output root", False, f"{output}: {error.strerror}: choose another paths.output"
        )
    return Check("output root", True, str(output))


def _disk(output: Path) -> Check:
    free = shutil.disk_usage(_existing(output)).free / 1e9
    return Check("free disk", free >= MIN_FREE_DISK, f"{free:.3g} GB")


def _existing(output: Path) -> Path:
    """The output root, or the folder in which it would be made."""
    return next(path for path in (output, *output.absolute().parents) if os.path.lexists(path))


def _connection(name: str, address: str, check: Callable[[], object]) -> Check:
    """Check that a server answers."""
    try:
        check()
    except SweepsError as error:
        return Check(name, False, without_secrets(str(error)))
    return Check(name, True, address)
