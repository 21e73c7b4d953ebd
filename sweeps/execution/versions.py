"""What must be the same on driver and workers, or results would not be what they say."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

PINNED = ("ray", "torch", "deq-sweeps")


def local_versions() -> dict[str, str]:
    """Versions of this process: Python, ray, torch, deq-sweeps; `none` where missing.

    torch's build (`+cpu`, `+cu126`) is left out: a driver without a GPU serves GPU workers.
    """
    found = {"Python": platform.python_version()}
    for name in PINNED:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def mismatch(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """One line naming both versions of everything that differs; empty where all agree."""
    wrong = [f"{k} {ours[k]} here, {v} there" for k, v in theirs.items() if v != ours[k]]
    return f"versions differ: {'; '.join(wrong)}: install the same on every node" if wrong else ""
