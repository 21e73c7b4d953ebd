"""What of this machine decides a result's last bits."""

import torch


def set_threads(threads: int) -> None:
    """Use this many CPU threads; results differ in their last bits between counts."""
    torch.set_num_threads(threads)


def hardware() -> dict[str, str | int]:
    """Threads, CPU capability and GPU of this process."""
    return {
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }
