from .api import compose, launch, load, load_trial, plan
from .config.hashing import cell_hash, config_hash
from .errors import (
    ClusterLostError,
    ConfigError,
    DiskError,
    StoppedError,
    SweepsError,
    TrackingError,
)

__version__: str

__all__ = [
    "ClusterLostError",
    "ConfigError",
    "DiskError",
    "StoppedError",
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
