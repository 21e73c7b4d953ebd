"""Errors that a user sees, each as one line.

SweepsError
|-- ConfigError             the command or the configuration; nothing was started
|   `-- OutputRootError     the output root cannot be used
|-- ClusterLostError        Ray's cluster is gone; what was recorded is kept
|-- DiskError               the disk is full or fails; what was recorded is kept
|-- StoppedError            a person stopped the sweep; the same command resumes it
`-- TrackingError           MLflow cannot be reached or used
"""


class SweepsError(Exception):
    """An error whose text is one line: what is wrong, where, and what to do instead."""


class ConfigError(SweepsError):
    """The command or the configuration is wrong.

    Attributes:
        key: the dotted config key that is wrong; empty where the error is about none.
        value: its value, where that is known; else None.
    """

    def __init__(self, text: str, *, key: str = "", value: object = None) -> None:
        super().__init__(text)
        self.key, self.value = key, value


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
