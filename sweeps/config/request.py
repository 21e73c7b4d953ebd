"""The door to pydantic: composed values, checked once against the typed configs."""

import functools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

import deq
from sweeps.config.config_files import ConfigFile, user_folders
from sweeps.config.hydra import compose_points
from sweeps.config.launch import ClusterConfig, LaunchConfig, PathsConfig, TrackingConfig
from sweeps.config.nested import flatten, nearest, updated
from sweeps.config.pinning import PinnedData, pin_data, pinned
from sweeps.config.random_points import random_points
from sweeps.config.search import RandomConfig, SearchConfig, check_space, is_adaptive
from sweeps.config.space import Choice
from sweeps.config.yaml_text import to_yaml
from sweeps.errors import ConfigError
from sweeps.redaction import without_secrets

__all__ = [
    "TRIAL_KEYS",
    "ClusterConfig",
    "Composed",
    "LaunchConfig",
    "PathsConfig",
    "Request",
    "TrackingConfig",
    "launch_from_plain",
    "launch_to_plain",
    "listed_trials",
    "request",
    "search_from_plain",
    "trial_from_plain",
    "trial_to_plain",
    "trial_to_yaml",
    "updated_trial",
]

# Keys whose value is true or false.
SWITCHES = ("allow_ill_posed", "weights")
TRIAL_KEYS = ("data", "model", "train", "solver", "diagnostics", "seed", "dtype")


@dataclass(frozen=True)
class Composed:
    """One composed trial.

    Attributes:
        trial: its typed config.
        varying: the axis values that make it differ.
        shape: (d, n) of its data set.
    """

    trial: deq.TrialConfig
    varying: dict[str, Any]
    shape: tuple[int, int]


@dataclass(frozen=True)
class Request:
    """A whole command, composed.

    Attributes:
        launch: how to launch.
        trials: what to train.
        files: a user's config files that they were composed from.
        config_dir: the folder that was named for these; empty where none was.
    """

    launch: LaunchConfig
    trials: list[Composed]
    files: list[ConfigFile] = field(default_factory=list)
    config_dir: str = ""


def request(overrides: Sequence[str], config_dir: str | Path | None = None) -> Request:
    """Compose a command's overrides into the trials they mean.

    A search that learns as it goes has no trials yet: those given are the cells it searches,
    at the defaults of the keys it will set.

    Args:
        overrides: as typed.
        config_dir: a folder of config files, which come before those of ./conf and ours.

    Raises:
        ConfigError: any override, key, type or value is wrong, or the folder cannot be used.
    """
    made = compose_points(overrides, user_folders(config_dir))
    found = made.points
    launch = _typed(LaunchConfig, _one_launch([plain for plain, _ in found]))
    try:
        check_space(launch.search)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    drawn = random_points(launch.search) if isinstance(launch.search, RandomConfig) else [{}]
    trials: list[Composed] = []
    seen: dict[str, PinnedData] = {}
    for plain, varying in found:
        _check_ends(plain, launch.search)
        for values in drawn:
            point = updated(plain, values) if values else plain
            trials.append(_composed(point, varying | flatten(values), launch.paths, seen))
    return Request(launch, trials, made.files, str(config_dir or ""))


def listed_trials(asked: Request) -> list[Composed]:
    """The trials of a request.

    Raises:
        ConfigError: they follow from results.
    """
    if is_adaptive(asked.launch.search):
        raise ConfigError(
            f"the trials of search={asked.launch.search.name} follow from results: "
            "`sweeps run --dry-run` shows those that are known so far"
        )
    return asked.trials


def updated_trial(
    plain: dict[str, Any],
    values: dict[str, Any],
    varying: dict[str, Any],
    paths: PathsConfig,
    seen: dict[str, Any],
) -> Composed:
    """The trial of `trial_to_plain`'s data with other values at these keys.

    Args:
        plain: the data.
        values: by dotted key.
        varying: what its name is to say.
        paths: where data sets are kept.
        seen: the data sets loaded so far; the same for every call of a search.

    Raises:
        ConfigError: there is no such trial.
    """
    values = flatten(values)
    point = updated(plain, values)
    # What was pinned to the old values is pinned anew.
    if any(key.startswith("data.") for key in values) and "sha256" in point["data"]:
        point["data"]["sha256"] = ""
    if "model.activation" in values:
        point["model"]["activation_sha256"] = ""
    return _composed(point, varying, paths, seen)


def _composed(
    plain: dict[str, Any],
    varying: dict[str, Any],
    paths: PathsConfig,
    seen: dict[str, "PinnedData"],
) -> Composed:
    config: deq.TrialConfig = _typed(deq.TrialConfig, _trial_part(plain))
    data = pin_data(config.data, Path(paths.output), seen)
    return Composed(pinned(config, data), varying, data.shape)


def _one_launch(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Launch settings that all points agree on.

    Raises:
        ConfigError: they differ in it, as with `study=w${model.width}`.
    """
    first, *others = [
        {key: value for key, value in plain.items() if key not in TRIAL_KEYS} for plain in points
    ]
    for other in others:
        if key := _differing(first, other):
            raise ConfigError(f"{key} is no part of a trial: give one value")
    return first


def _differing(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The first key in which two launches differ; the axes that an experiment declares may."""
    if one == other:
        return ""
    aside: dict[str, Any] = {"axes": {}, "paper": {}}
    was, now = flatten(one | aside), flatten(other | aside)
    return next((key for key in {**was, **now} if was.get(key) != now.get(key)), "")


def _trial_part(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: plain[key] for key in TRIAL_KEYS if key in plain}


def _check_ends(plain: dict[str, Any], search: SearchConfig) -> None:
    """Refuse a space that holds what no trial can be, before one is drawn from it."""
    for key, dimension in search.space.items():
        ends = (
            dimension.values if isinstance(dimension, Choice) else [dimension.low, dimension.high]
        )
        for value in ends:
            _typed(deq.TrialConfig, _trial_part(updated(plain, {key: value})))


def launch_to_plain(config: LaunchConfig) -> dict[str, Any]:
    """Plain data that launches the same again; no password is in it."""
    plain: dict[str, Any] = asdict(config)
    plain["tracking"]["uri"] = without_secrets(config.tracking.uri)
    return plain


def launch_from_plain(
    plain: dict[str, Any], overrides: Sequence[str], config_dir: str | Path | None = None
) -> LaunchConfig:
    """How a sweep was launched, changed by what is typed now; paths are those of now.

    Args:
        plain: what `launch_to_plain` wrote.
        overrides: as typed.
        config_dir: a folder of config files, as of `request`.

    Raises:
        ConfigError: an override is wrong, or names what is part of a trial.
    """
    composed, _ = compose_points(overrides, user_folders(config_dir)).points[0]
    merged: dict[str, Any] = plain | {"paths": composed["paths"]}
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        group, _, leaf = key.partition(".")
        if group not in ("cluster", "tracking", "pack", "paths", "checkpoint", "record"):
            raise ConfigError(
                f"{override}: a sweep goes on with the trials it has; "
                "only cluster, tracking, pack, checkpoint, record and paths may change"
            )
        if leaf:
            merged[group] = merged.get(group, {}) | {leaf: composed[group][leaf.partition(".")[0]]}
        else:
            merged[group] = composed[group]
    launch: LaunchConfig = _typed(LaunchConfig, merged)
    return launch


def search_from_plain(plain: dict[str, Any]) -> SearchConfig:
    """The search of a stored launch."""
    launch: LaunchConfig = _typed(LaunchConfig, {"search": plain})
    return launch.search


def trial_from_plain(plain: dict[str, Any]) -> deq.TrialConfig:
    """The typed config of plain data, as `trial_to_plain` wrote it."""
    config: deq.TrialConfig = _typed(deq.TrialConfig, plain)
    return config


def trial_to_plain(config: deq.TrialConfig) -> dict[str, Any]:
    """Plain data: what travels to workers."""
    plain: dict[str, Any] = _adapter(deq.TrialConfig).dump_python(config, mode="json")
    return plain


def trial_to_yaml(config: deq.TrialConfig) -> str:
    """The config as a YAML file a person reads, enough to run it again."""
    return to_yaml(trial_to_plain(config))


def _typed(cls: type, plain: dict[str, Any]) -> Any:
    """Check plain data against a dataclass tree.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    _refuse_odd(plain)
    try:
        config = _adapter(cls).validate_python(plain)
    except ValidationError as error:
        raise ConfigError(_first(error)) from error
    keys = tuple(flatten({k: v for k, v in plain.items() if k not in ("axes", "paper")}))
    seen = (cls, keys, *(type(getattr(config, f.name)) for f in fields(config)))
    if seen not in _known_keys:  # thousands of trials have the keys of the first
        known = flatten(asdict(config))
        for key in keys:
            if key not in known:
                raise ConfigError(f"no key {key!r}{nearest(key, known)}")
        _known_keys.add(seen)
    return config


# Classes with the keys, and the types of the parts, that were found right.
_known_keys: set[tuple[Any, ...]] = set()


@functools.cache
def _adapter(cls: type) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def _refuse_odd(plain: dict[str, Any]) -> None:
    """What pydantic would let through: true as a number, NaN and infinity."""
    for key, value in flatten(plain).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key}={value}: a configuration holds finite numbers only")
        if isinstance(value, bool) and key.rsplit(".", 1)[-1] not in SWITCHES:
            raise ConfigError(f"{key}={str(value).lower()}: true and false have no meaning here")


def _first(error: ValidationError) -> str:
    items = error.errors(include_url=False)
    # Of a union's complaints, those of the member that was named.
    wrong = {i["loc"][:2] for i in items if i["type"] == "literal_error" and i["loc"][-1] == "name"}
    item = next((i for i in items if i["loc"][:2] not in wrong), items[0])
    place = ".".join(str(part) for part in item["loc"] if not str(part).endswith("Config"))
    message = item["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    shown = item.get("input")
    given = f"={shown}" if isinstance(shown, str | int | float) else ""
    return f"{place}{given}: {message}" if place else message
