from .api import compose, launch, load, load_trial, plan
from .config.hashing import cell_hash, config_hash
from .errors import ConfigError, SweepsError, TrackingError

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
