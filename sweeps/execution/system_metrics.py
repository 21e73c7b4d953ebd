"""CPU, memory and GPU use of a worker, under the names of MLflow's System metrics tab.

MLflow samples the whole machine. Here CPU and memory are those of the process that trains, and
only the GPUs that were given to it are sampled: none if it trains on the CPU.
"""

import contextlib
import functools
import os
from typing import Any

import psutil

from sweeps.metrics import SYSTEM

MEGABYTE = 1e6


class Sampler:
    """Samples how much of the machine this process uses."""

    def __init__(self, device: str) -> None:
        """Begin to measure; the first sample's CPU use counts from now.

        Args:
            device: cpu or cuda; where this process trains.
        """
        self._on_gpu = device.startswith("cuda")
        self._process = psutil.Process()
        self._process.cpu_percent()

    def sample(self) -> dict[str, float]:
        """Return CPU use in percent of one core, memory and GPU use, by MLflow's names."""
        used = self._process.memory_info().rss
        return {
            f"{SYSTEM}cpu_utilization_percentage": self._process.cpu_percent(),
            f"{SYSTEM}system_memory_usage_megabytes": used / MEGABYTE,
            f"{SYSTEM}system_memory_usage_percentage": 100 * used / psutil.virtual_memory().total,
            **(_gpus() if self._on_gpu else {}),
        }


def _gpus() -> dict[str, float]:
    """Return use and memory of the GPUs that this process may use; empty if there are none."""
    use: dict[str, float] = {}
    nvml, handles = _handles()
    for i, handle in enumerate(handles):
        with contextlib.suppress(nvml.NVMLError):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            use[f"{SYSTEM}gpu_{i}_memory_usage_megabytes"] = memory.used / MEGABYTE
            use[f"{SYSTEM}gpu_{i}_memory_usage_percentage"] = 100 * memory.used / memory.total
            rates = nvml.nvmlDeviceGetUtilizationRates(handle)
            use[f"{SYSTEM}gpu_{i}_utilization_percentage"] = float(rates.gpu)
    return use


@functools.cache
def _handles() -> tuple[Any, list[Any]]:
    """Return pynvml and its handles of the GPUs in CUDA_VISIBLE_DEVICES; by default of all."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return pynvml, [_handle(pynvml, name) for name in _visible(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:  # no GPU driver
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
