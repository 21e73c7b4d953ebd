"""Sweeps over how deep equilibrium models train: content-addressed, with theory beside."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.errors import ConfigError, SweepsError, TrackingError
    from sweeps.identity import cell_hash, config_hash
    from sweeps.library import compose, launch, load, plan

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "SweepsError",
    "TrackingError",
    "cell_hash",
    "compose",
    "config_hash",
    "launch",
    "load",
    "plan",
]

_HOMES = {
    "ConfigError": "errors",
    "SweepsError": "errors",
    "TrackingError": "errors",
    "cell_hash": "identity",
    "config_hash": "identity",
    "compose": "library",
    "launch": "library",
    "load": "library",
    "plan": "library",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when asked for: `sweeps --help` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sweeps' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"sweeps.{_HOMES[name]}"), name)
