"""An experiment is its configuration: the canonical form and the hashes of it."""

import hashlib
import json
import math
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

SCHEMA = 1


def canonical(config: Any) -> Any:
    """The canonical form of a typed config: plain data, identity fields only.

    A dataclass field takes part unless its metadata says `identity: False`. A field
    added later says `absent_at: VALUE`, today's behaviour: at that value it is left
    out, so that it moves no older hash.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a value is of no configuration type.
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
    """The same without the seed: it groups repeats."""
    return digests(canonical(config))[1]


def digests(plain: dict[str, Any]) -> tuple[str, str]:
    """(config hash, cell hash) of a trial config in its canonical form."""
    return _digest(plain), _digest({key: v for key, v in plain.items() if key != "seed"})


def both_hashes(config: Any) -> tuple[str, str]:
    """Both of a typed trial config."""
    return digests(canonical(config))


def set_hash(hashes: list[str]) -> str:
    """What a sweep is known by: the set of its trials; 12 hex digits."""
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
