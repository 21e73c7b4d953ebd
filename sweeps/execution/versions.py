"""Versions that must be the same on the driver and on all workers."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

PINNED = ("ray", "torch", "deq-sweeps")


def package_version(name: str) -> str:
    """Return the version of an installed package, "" if it is missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def local_versions() -> dict[str, str]:
    """Return the versions of this process: Python, ray, torch, deq-sweeps; "none" if missing.

    torch's build (`+cpu`, `+cu126`) is left out: a driver without a GPU serves GPU workers.
    """
    versions = {name: package_version(name).partition("+")[0] or "none" for name in PINNED}
    return {"Python": platform.python_version()} | versions


def mismatch(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Return one line with both versions of everything that differs; "" if all agree."""
    wrong = [f"{k} {ours[k]} here, {v} there" for k, v in theirs.items() if v != ours[k]]
    return f"versions differ: {'; '.join(wrong)}: install the same on every node" if wrong else ""
