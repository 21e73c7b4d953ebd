"""Threads, precision and hardware of this process, which decide a result's last bits.

torch is imported inside the functions that need it, because the import takes a second.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def set_threads(threads: int) -> None:
    """Set the number of CPU threads. Results differ in their last bits between numbers."""
    import torch

    torch.set_num_threads(threads)


def forbid_tf32() -> None:
    """Multiply float32 in float32 on a GPU, for the whole process.

    With TF32 a fixed point's residual stalls at 2e-5 to 7e-5 and gradients are wrong by
    1e-4, so that the solver's tolerance is never met.
    """
    import torch

    torch.set_float32_matmul_precision("highest")


@contextmanager
def allow_tf32() -> Iterator[None]:
    """Multiply float32 in TF32 on a GPU within this context."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def memory_of(device: str = "cpu") -> int:
    """Return the total memory of this machine, or of one of its GPUs, in bytes."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def gpu_count() -> int:
    """Return the number of GPUs that torch can use."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def hardware() -> dict[str, str | int]:
    """Return this process's number of threads, CPU capability and GPU name (empty if none)."""
    import torch

    return {
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }
