"""Errors that a user sees, each as one line.

SweepsError
|-- ConfigError             the command or the configuration; nothing was started
|   `-- OutputRootError     the output root cannot be used
|-- ClusterLostError        Ray's cluster is gone; what was recorded is kept
|-- DiskError               the disk is full or fails; what was recorded is kept
`-- TrackingError           MLflow cannot be reached or used
"""


class SweepsError(Exception):
    """An error whose text is one line: what is wrong, where, and what to do instead."""


class ConfigError(SweepsError):
    """The command or the configuration is wrong."""


class OutputRootError(ConfigError):
    """The output root, or a file in it, cannot be used by this command."""


class ClusterLostError(SweepsError):
    """The Ray cluster does not answer any more; the same command goes on when it is back."""


class DiskError(SweepsError):
    """The disk is full or fails; the same command goes on when there is room."""


class StoppedError(SweepsError):
    """A person stopped the sweep; the same command resumes it."""


class TrackingError(SweepsError):
    """The MLflow store cannot be reached or used."""
