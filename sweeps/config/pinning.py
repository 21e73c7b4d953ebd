"""Pinning: records SHA-256 digests of data files and custom activations in a trial's config."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import deq
from sweeps.config.trial_keys import key_in
from sweeps.errors import ConfigError


@dataclass(frozen=True)
class PinnedData:
    """Pinned data set.

    Attributes:
        pins: values of the data config that pin it, such as path and sha256.
        shape: (d, n).
    """

    pins: dict[str, Any]
    shape: tuple[int, int]


def pin_data(data: deq.DataConfig, output: Path, seen: dict[str, PinnedData]) -> PinnedData:
    """Pin a data set, once for all trials that share it.

    Args:
        data: its config.
        output: the output root.
        seen: data sets that were pinned before, by their config; extended by this one.

    Raises:
        ConfigError: it does not exist, or has fewer than n samples.
    """
    key = json.dumps(asdict(data))
    if key not in seen:
        try:
            pins = _pinned(data, output)
            d, n = deq.shape_of(replace(data, **pins))
        except ValueError as error:
            key, name = key_in(str(error), "data"), data.name
            raise ConfigError(f"data={name}: {error}", key=key, value=name) from error
        if isinstance(data, deq.NpzConfig):
            pins["n"] = n
        seen[key] = PinnedData(pins, (d, n))
    return seen[key]


def pinned(config: deq.TrialConfig, data: PinnedData) -> deq.TrialConfig:
    """The config with its data and its custom activation pinned.

    Raises:
        ConfigError: there is no such activation.
    """
    try:
        digest = deq.activation_digest(config.model.activation)
    except ValueError as error:
        raise ConfigError(f"model.{error}", key="model.activation") from error
    model = replace(config.model, activation_sha256=digest)
    return replace(config, data=replace(config.data, **data.pins), model=model)


def _pinned(data: deq.DataConfig, output: Path) -> dict[str, Any]:
    """Absolute path of a data set's files, and their digest; empty where it has no files."""
    place: dict[str, Any]
    if isinstance(data, deq.NpzConfig):
        place = {"path": str(Path(data.path).resolve())}
    elif isinstance(data, deq.OpenmlConfig):
        place = {"cache": str(cache_of(data, output))}
    else:
        return {}
    return place | {"sha256": data.sha256 or deq.digest(replace(data, **place))}


def cache_of(data: deq.OpenmlConfig, output: Path) -> Path:
    """Folder of a data set's downloads.

    Args:
        data: its config.
        output: the output root, which holds the downloads of a config without a folder.

    Raises:
        ConfigError: it cannot be used, or a download would go to a folder outside of the output
            root.
    """
    cache = Path(data.cache or output / "data").resolve()
    try:
        exists = (cache / f"{data.name}.npz").exists()
    except OSError as error:  # a name too long, or another user's folder
        text = f"data.cache={data.cache}: {error.strerror}"
        raise ConfigError(text, key="data.cache") from error
    if not cache.is_relative_to(output.resolve()) and not exists:
        raise ConfigError(
            f"data.cache={data.cache} has no {data.name}.npz, and nothing is written outside "
            f"paths.output={output}: put it there, or leave data.cache empty to download it",
            key="data.cache",
        )
    return cache
