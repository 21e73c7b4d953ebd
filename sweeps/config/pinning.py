"""What lies in files is pinned when a trial is composed: its data set, an own activation."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import deq
from sweeps.errors import ConfigError


@dataclass(frozen=True)
class PinnedData:
    """A data set that was seen: what pins it, and its shape (d, n)."""

    pins: dict[str, Any]
    shape: tuple[int, int]


def pin_data(data: deq.DataConfig, output: Path, seen: dict[str, PinnedData]) -> PinnedData:
    """Check that a data set exists and holds n samples, once for all trials that share it."""
    key = json.dumps(asdict(data), sort_keys=True)
    if key not in seen:
        try:
            pins = _pinned(data, output)
            d, n = deq.shape_of(replace(data, **pins))
        except ValueError as error:
            raise ConfigError(f"data={data.name}: {error}") from error
        if isinstance(data, deq.NpzConfig):
            pins["n"] = n
        seen[key] = PinnedData(pins, (d, n))
    return seen[key]


def pinned(config: deq.TrialConfig, data: PinnedData) -> deq.TrialConfig:
    """The config with what lies in files pinned: its data, the module of an own activation."""
    try:
        digest = deq.activation_digest(config.model.activation)
    except ValueError as error:
        raise ConfigError(f"model.{error}") from error
    model = replace(config.model, activation_sha256=digest)
    return replace(config, data=replace(config.data, **data.pins), model=model)


def _pinned(data: deq.DataConfig, output: Path) -> dict[str, Any]:
    """Where a data set's files lie, whatever the folder of the process, and their digest."""
    place: dict[str, Any]
    if isinstance(data, deq.NpzConfig):
        place = {"path": str(Path(data.path).resolve())}
    elif isinstance(data, deq.OpenmlConfig):
        place = {"cache": str(_cache(data, output))}
    else:
        return {}
    return place | {"sha256": data.sha256 or deq.digest(replace(data, **place))}


def _cache(data: deq.OpenmlConfig, output: Path) -> Path:
    """Where a data set's downloads lie.

    Raises:
        ConfigError: it would have to be downloaded to outside the output root, or is no place.
    """
    cache = Path(data.cache or output / "data").resolve()
    try:
        there = (cache / f"{data.name}.npz").exists()
    except OSError as error:  # a name too long, or a folder of another user's
        raise ConfigError(f"data.cache={data.cache}: {error.strerror}") from error
    if not cache.is_relative_to(output.resolve()) and not there:
        raise ConfigError(
            f"data.cache={data.cache} has no {data.name}.npz, and nothing is written outside "
            f"paths.output={output}: put it there, or leave data.cache empty to download it"
        )
    return cache
