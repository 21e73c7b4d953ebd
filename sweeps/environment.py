"""What a result was made with: versions, hardware, threads, code."""

import functools
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import deq

PACKAGES = ("deq-sweeps", "torch", "numpy", "ray", "mlflow", "hydra-core", "omegaconf")


@functools.cache
def environment() -> dict[str, Any]:
    """Package versions, hardware, threads and code version of this process."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cpus": os.cpu_count(),
        **deq.hardware(),
        "code": code_version(),
    }


@functools.cache
def code_version() -> dict[str, str]:
    """Commit and uncommitted diff of the checkout this package runs from, if it is one."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return {}
    return {"commit": _git(root, "rev-parse", "HEAD").strip(), "diff": _git(root, "diff", "HEAD")}


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
