from .errors import ConfigError, SweepsError, TrackingError
from .identity import cell_hash, config_hash
from .library import compose, launch, load, load_trial, plan

__version__: str

__all__ = [
    "ConfigError",
    "SweepsError",
    "TrackingError",
    "cell_hash",
    "compose",
    "config_hash",
    "launch",
    "load",
    "load_trial",
    "plan",
]
