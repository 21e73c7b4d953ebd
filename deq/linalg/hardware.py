"""Threads, precision and hardware of this process, which decide a result's last bits.

torch is imported where it is used: to know a machine's memory takes none of it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def set_threads(threads: int) -> None:
    """Use this many CPU threads; results differ in their last bits between counts."""
    import torch

    torch.set_num_threads(threads)


def forbid_tf32() -> None:
    """Multiply float32 in float32 on a GPU, for the whole process.

    With TF32 a fixed point's residual stalls at 2e-5 to 7e-5, and gradients are wrong by
    1e-4: no tolerance of ours would be met.
    """
    import torch

    torch.set_float32_matmul_precision("highest")


@contextmanager
def allow_tf32() -> Iterator[None]:
    """Multiply float32 in TF32 on a GPU meanwhile; only for products whose error is bounded."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def memory_of(device: str = "cpu") -> int:
    """Bytes that this machine, or one of its GPUs, has in all."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def gpus() -> int:
    """GPUs that torch can use here: none where it is built without CUDA, or sees no device."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def hardware() -> dict[str, str | int]:
    """Threads, CPU capability and GPU of this process."""
    import torch

    return {
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }
