"""CPU, memory and GPU use of a worker, under the names of MLflow's System metrics tab.

The door to psutil and pynvml, which MLflow itself samples with. MLflow samples the whole
machine; here CPU and memory are those of the process that trains, and only the GPUs that it
was given are looked at.
"""

import contextlib
import functools
import os
from typing import Any

import psutil

from sweeps.metrics import SYSTEM

MEGABYTE = 1e6


class Sampler:
    """Samples the use that this process makes of its machine."""

    def __init__(self) -> None:
        """Begin: the first sample's CPU use counts from now."""
        self._process = psutil.Process()
        self._process.cpu_percent()

    def sample(self) -> dict[str, float]:
        """CPU in percent of one core, memory and GPU use, by MLflow's names."""
        used = self._process.memory_info().rss
        return {
            f"{SYSTEM}cpu_utilization_percentage": self._process.cpu_percent(),
            f"{SYSTEM}system_memory_usage_megabytes": used / MEGABYTE,
            f"{SYSTEM}system_memory_usage_percentage": 100 * used / psutil.virtual_memory().total,
            **_gpus(),
        }


def _gpus() -> dict[str, float]:
    """Use and memory of the GPUs that this process may use; empty where there are none."""
    found: dict[str, float] = {}
    nvml, handles = _handles()
    for i, handle in enumerate(handles):
        with contextlib.suppress(nvml.NVMLError):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            found[f"{SYSTEM}gpu_{i}_memory_usage_megabytes"] = memory.used / MEGABYTE
            found[f"{SYSTEM}gpu_{i}_memory_usage_percentage"] = 100 * memory.used / memory.total
            rates = nvml.nvmlDeviceGetUtilizationRates(handle)
            found[f"{SYSTEM}gpu_{i}_utilization_percentage"] = float(rates.gpu)
    return found


@functools.cache
def _handles() -> tuple[Any, list[Any]]:
    """pynvml, and its handles of the GPUs in CUDA_VISIBLE_DEVICES; all where that is not set."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return pynvml, [_handle(pynvml, name) for name in _visible(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:  # no driver: no GPU
        return pynvml, []


def _visible(count: int) -> list[str]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(i) for i in range(count)]
    return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]


def _handle(nvml: Any, name: str) -> Any:
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)
