"""Canonical form of a trial config, and the hashes that identify trials and sweeps."""

import hashlib
import json
import math
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

SCHEMA = 1


def canonical(config: Any) -> Any:
    """Canonical form of a typed config: plain data of the identity fields.

    A dataclass field with metadata `identity: False` is left out. A field that was added
    later has metadata `absent_at: VALUE`, the earlier behaviour; it is left out at that
    value, so that older hashes stay the same.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a value has a type that no config has.
    """
    if is_dataclass(config) and not isinstance(config, type):
        return {
            f.name: canonical(getattr(config, f.name))
            for f in fields(config)
            if f.metadata.get("identity", True)
            and not (
                "absent_at" in f.metadata and f.metadata["absent_at"] == getattr(config, f.name)
            )
        }
    if isinstance(config, float):
        if not math.isfinite(config):
            raise ValueError(f"{config} has no place in a configuration")
        return config + 0.0  # -0.0 becomes 0.0
    if config is None or isinstance(config, bool | int | str):
        return config.value if isinstance(config, Enum) else config
    if isinstance(config, list | tuple):
        return [canonical(item) for item in config]
    raise TypeError(f"{type(config).__name__} is no configuration type")


def config_hash(config: Any) -> str:
    """SHA-256 of the canonical JSON of a typed trial config; 64 hex digits."""
    return _digest(canonical(config))


def cell_hash(config: Any) -> str:
    """Like `config_hash`, but without the seed: seeds of one config share it."""
    return both_hashes(config)[1]


def digests(plain: dict[str, Any]) -> tuple[str, str]:
    """(config hash, cell hash) of a trial config in its canonical form."""
    return _digest(plain), _digest({key: v for key, v in plain.items() if key != "seed"})


def both_hashes(config: Any) -> tuple[str, str]:
    """(config hash, cell hash) of a typed trial config."""
    return digests(canonical(config))


def set_hash(hashes: list[str]) -> str:
    """Name of a sweep: 12 hex digits of the hash of its set of trials."""
    return hashlib.sha256("\n".join(sorted(set(hashes))).encode()).hexdigest()[:12]


def _digest(plain: Any) -> str:
    text = json.dumps(
        {"schema": SCHEMA, "config": plain},
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
        ensure_ascii=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()
