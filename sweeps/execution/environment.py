"""Environment of a result: versions, hardware, threads, code."""

import functools
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import deq
from sweeps.execution.git import code_version

PACKAGES = ("deq-sweeps", "torch", "numpy", "ray", "mlflow", "hydra-core", "omegaconf")


@functools.cache
def environment() -> dict[str, Any]:
    """Return package versions, hardware, threads and code version of this process."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cpus": os.cpu_count(),
        **deq.hardware(),
        "code": code_version(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
