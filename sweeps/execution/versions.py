"""Versions that must be the same on the driver and on all workers."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

PINNED = ("ray", "torch", "deq-sweeps")


def local_versions() -> dict[str, str]:
    """Return the versions of this process: Python, ray, torch, deq-sweeps; "none" if missing.

    torch's build (`+cpu`, `+cu126`) is left out: a driver without a GPU serves GPU workers.
    """
    versions = {"Python": platform.python_version()}
    for name in PINNED:
        try:
            versions[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            versions[name] = "none"
    return versions


def mismatch(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Return one line with both versions of everything that differs; "" if all agree."""
    wrong = [f"{k} {ours[k]} here, {v} there" for k, v in theirs.items() if v != ours[k]]
    return f"versions differ: {'; '.join(wrong)}: install the same on every node" if wrong else ""
