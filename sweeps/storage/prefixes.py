"""Prefixes of hashes that a user types to name a trial or a sweep."""

from collections.abc import Collection

from sweeps.errors import ConfigError

# Fewest digits of a hash that name something.
MIN_PREFIX = 6


def one_sweep(names: Collection[str], prefix: str) -> str:
    """The only name among the sweeps that begin with a prefix.

    Args:
        names: of all sweeps that begin with it.
        prefix: as the user typed it.

    Raises:
        ConfigError: there is none or more than one, or the prefix is too short.
    """
    check_text(prefix, "sweep's name")
    if not names:
        raise ConfigError(f"no sweep's name begins with {prefix!r}: `sweeps status` lists them")
    if len(prefix) < MIN_PREFIX:
        raise ConfigError(
            f"{prefix!r} is too short for a sweep's name: give {MIN_PREFIX} or more digits; "
            f"it may be {', '.join(list(names)[:5])}"
        )
    if len(names) != 1:
        raise ConfigError(
            f"{prefix!r} names {len(names)} sweeps: give more digits; "
            f"it may be {', '.join(list(names)[:5])}"
        )
    return next(iter(names))


def check_prefix(prefix: str) -> None:
    """Raise ConfigError unless this may be the beginning of a config hash."""
    check_text(prefix, "hash")
    if set(prefix) - set("0123456789abcdef"):
        raise ConfigError(f"{prefix!r} is no hash: give {MIN_PREFIX} or more of its hex digits")
    if len(prefix) < MIN_PREFIX:
        raise ConfigError(f"{prefix!r} is too short for a hash: give {MIN_PREFIX} or more digits")


def check_text(prefix: object, what: str) -> None:
    """Raise ConfigError unless a prefix is text."""
    if not isinstance(prefix, str):
        raise ConfigError(f"{prefix!r} is no {what}: give its first digits as text, '3f2a9c41'")
