"""What a sweep would find here: versions, GPU, disk, and the servers that were asked for."""

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
from sweeps.config.request import LaunchConfig
from sweeps.errors import SweepsError
from sweeps.execution.executor import check_cluster, missing_gpus
from sweeps.execution.git import code_version
from sweeps.redaction import without_secrets
from sweeps.tracking.server import check_server

# Free GB below which a sweep had better not start.
LEAST_DISK = 1.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        ok: whether a sweep can use it.
        found: its version or state, or what is wrong and what to do.
    """

    name: str
    ok: bool
    found: str


def examine(config: LaunchConfig, config_dir: str | None = None) -> list[Check]:
    """Look at everything that a sweep launched so would use; nothing is started or left.

    Args:
        config: how it would be launched.
        config_dir: the folder of config files that was named.
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
            _asked("cluster", config.cluster.address, lambda: check_cluster(config.cluster))
        )
    if config.tracking.name == "server":
        uri = without_secrets(config.tracking.uri)
        checks.append(_asked("tracking server", uri, lambda: check_server(config.tracking)))
    return checks


def to_json(checks: list[Check]) -> str:
    """The checks for a script."""
    return json.dumps([asdict(check) for check in checks], indent=2)


def _package(name: str) -> Check:
    try:
        return Check(name, True, str(importlib.import_module(name).__version__))
    except Exception as error:  # a broken install raises anything
        return Check(name, False, f"cannot be imported: {error}")


def _gpu(config: LaunchConfig) -> Check:
    missing = missing_gpus(config.cluster)
    there = str(deq.hardware()["gpu"]) or "none that torch sees"
    return Check("GPU", not missing, missing or there)


def _git() -> Check:
    """Check that the commit can be recorded with a result."""
    code = code_version()
    if refusal := code.get("error"):
        return Check("git", False, f"the commit is not recorded with results: {refusal}")
    changed = " with uncommitted changes" if code.get("diff") else ""
    return Check("git", True, f"{code['commit'][:12]}{changed}" if code else "not a git checkout")


def _configs(config_dir: str | None) -> str:
    """A user's folders of config files, with what they hold, before our own."""
    found = []
    for folder in user_folders(config_dir):
        mine = {path.parts[-2] for path in folder.glob("*/*.yaml")}
        found.append(f"{folder} ({', '.join(sorted(mine))})")
    return "; then ".join([*found, "sweeps' own"]) + (f" ({why_unused()})" if why_unused() else "")


def _writable(output: Path) -> Check:
    place = _existing(output)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Check("output root", False, f"{output}: {error.strerror}: choose paths.output")
    return Check("output root", True, str(output))


def _disk(output: Path) -> Check:
    free = shutil.disk_usage(_existing(output)).free / 1e9
    return Check("free disk", free >= LEAST_DISK, f"{free:.3g} GB")


def _existing(output: Path) -> Path:
    """The root, or the folder that it would be made in."""
    return next(place for place in (output, *output.absolute().parents) if os.path.lexists(place))


def _asked(name: str, address: str, check: Callable[[], None]) -> Check:
    try:
        check()
    except SweepsError as error:
        return Check(name, False, without_secrets(str(error)))
    return Check(name, True, address)
