"""What a user can get wrong.

SweepsError
|-- ConfigError     the command or the configuration; nothing was started
`-- TrackingError   MLflow cannot be reached or used
"""


class SweepsError(Exception):
    """One line: what is wrong, where, and what to do instead."""


class ConfigError(SweepsError):
    """The command or the configuration is wrong."""


class TrackingError(SweepsError):
    """The MLflow store cannot be reached or used."""
