"""Environment of a result: versions, hardware, threads, code."""

import functools
import os
import platform
from typing import Any

import deq
from sweeps.execution.git import code_version
from sweeps.execution.versions import package_version

PACKAGES = ("deq-sweeps", "torch", "numpy", "ray", "mlflow", "hydra-core", "omegaconf")


@functools.cache
def environment() -> dict[str, Any]:
    """Return package versions, hardware, threads and code version of this process."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "cpus": os.cpu_count(),
        **deq.hardware(),
        "code": code_version(),
    }
