"""Composes commands into requests, and converts configs from and to plain data."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import deq
from sweeps.config.conditional_keys import without_meaningless
from sweeps.config.config_files import ConfigFile, user_folders
from sweeps.config.config_origin import naming_file
from sweeps.config.hydra import compose_points
from sweeps.config.launch import LaunchConfig, PathsConfig
from sweeps.config.nested import flatten, updated
from sweeps.config.pinning import PinnedData, pin_data, pinned
from sweeps.config.search import SearchConfig
from sweeps.config.space import Choice
from sweeps.config.validation import dumped, validated
from sweeps.config.yaml_text import to_yaml
from sweeps.errors import ConfigError
from sweeps.redaction import without_secrets

TRIAL_KEYS = tuple(field.name for field in fields(deq.TrialConfig))


@dataclass(frozen=True)
class Composed:
    """A composed trial.

    Attributes:
        trial: its typed config.
        varying: values of the sweep's axes, by key.
        shape: (d, n) of its data set.
    """

    trial: deq.TrialConfig
    varying: dict[str, Any]
    shape: tuple[int, int]


@dataclass(frozen=True)
class Request:
    """A composed command.

    Attributes:
        launch: launch settings.
        trials: the trials; of an adaptive search, the cells that it searches.
        files: the user's config files that they were composed from.
        config_dir: value of `--config-dir`; empty without it.
    """

    launch: LaunchConfig
    trials: list[Composed]
    files: list[ConfigFile] = field(default_factory=list)
    config_dir: str = ""


def request(overrides: Sequence[str], config_dir: str | Path | None = None) -> Request:
    """Compose a command's overrides.

    The trials of an adaptive search are not known yet. The request then has the cells that it
    searches, with the default values of the keys in its space.

    Args:
        overrides: as typed.
        config_dir: a folder of config files; they take precedence over ./conf and ours.

    Raises:
        ConfigError: any override, key, type or value is wrong, or the folder cannot be used.
    """
    check_overrides(overrides)
    folders = user_folders(config_dir)
    with naming_file(overrides, folders):
        return _request(overrides, folders, config_dir)


def check_overrides(overrides: object) -> None:
    """Check that overrides are a list of texts, and not one text.

    Raises:
        ConfigError: they are not.
    """
    if isinstance(overrides, list | tuple) and all(isinstance(word, str) for word in overrides):
        return
    example = [overrides] if isinstance(overrides, str) else ["model.width=64,128"]
    raise ConfigError(f"overrides={overrides!r}: give a list of texts, {example}")


def _request(
    overrides: Sequence[str], folders: Sequence[Path], config_dir: str | Path | None
) -> Request:
    composition = compose_points(overrides, folders)
    launch = validated(LaunchConfig, _one_launch([plain for plain, _ in composition.points]))
    try:
        launch.search.check_space()
    except ValueError as error:
        raise ConfigError(str(error), key="search", value=launch.search.name) from error
    sampled = launch.search.points
    points: list[dict[str, Any]] = []
    varying: list[dict[str, Any]] = []
    for plain, own in composition.points:
        _check_ends(plain, launch.search)
        points += [updated(plain, values) if values else plain for values in sampled]
        varying += [own | flatten(values) for values in sampled]
    pinned_data: dict[str, PinnedData] = {}
    trials = [
        _composed(point, values, launch.paths, pinned_data)
        for point, values in zip(without_meaningless(points), varying, strict=True)
    ]
    return Request(launch, trials, composition.files, str(config_dir or ""))


def listed_trials(composed: Request) -> list[Composed]:
    """The trials of a request whose search is not adaptive.

    Raises:
        ConfigError: the search is adaptive: its trials follow from results.
    """
    if composed.launch.search.adaptive:
        raise ConfigError(
            f"the trials of search={composed.launch.search.name} follow from results: "
            "`sweeps run --dry-run` shows those that are known so far"
        )
    return composed.trials


def updated_trial(
    plain: dict[str, Any],
    values: dict[str, Any],
    varying: dict[str, Any],
    paths: PathsConfig,
    seen: dict[str, Any],
) -> Composed:
    """Compose a trial from the plain data of another one and new values.

    Args:
        plain: the other trial, as `trial_to_plain` wrote it.
        values: by dotted key.
        varying: values of the sweep's axes, which its name states.
        paths: the output root, which has the downloaded data sets.
        seen: data sets that were pinned before; the same dict for every call of a search.

    Raises:
        ConfigError: a value is wrong.
    """
    values = flatten(values)
    point = updated(plain, values)
    # The digests belong to the old values: they are computed anew.
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
    config = validated(deq.TrialConfig, _trial_part(plain))
    data = pin_data(config.data, Path(paths.output), seen)
    return Composed(pinned(config, data), varying, data.shape)


def _one_launch(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Launch settings, which all points must have in common.

    Raises:
        ConfigError: points differ in one, as with `study=w${model.width}`.
    """
    first, *others = [
        {key: value for key, value in plain.items() if key not in TRIAL_KEYS} for plain in points
    ]
    for other in others:
        if key := _differing(first, other):
            raise ConfigError(f"{key} is no part of a trial: give one value", key=key)
    return first


def _differing(one: dict[str, Any], other: dict[str, Any]) -> str:
    """First key in which two launches differ, except in an experiment's axes; else empty."""
    if one == other:
        return ""
    without_axes: dict[str, Any] = {"axes": {}, "paper": {}}
    a, b = flatten(one | without_axes), flatten(other | without_axes)
    return next((key for key in {**a, **b} if a.get(key) != b.get(key)), "")


def _trial_part(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: plain[key] for key in TRIAL_KEYS if key in plain}


def _check_ends(plain: dict[str, Any], search: SearchConfig) -> None:
    """Refuse a space with an end or a choice that no trial can have."""
    for key, dimension in search.space.items():
        ends = (
            dimension.values if isinstance(dimension, Choice) else [dimension.low, dimension.high]
        )
        for value in ends:
            validated(deq.TrialConfig, _trial_part(updated(plain, {key: value})))


def launch_to_plain(config: LaunchConfig) -> dict[str, Any]:
    """Launch settings as plain data, without passwords."""
    plain: dict[str, Any] = asdict(config)
    for address in ("uri", "public_url"):
        plain["tracking"][address] = without_secrets(plain["tracking"][address])
    return plain


def launch_from_plain(
    plain: dict[str, Any], overrides: Sequence[str], config_dir: str | Path | None = None
) -> LaunchConfig:
    """Launch settings of a recorded sweep, changed by overrides; paths come from now.

    Args:
        plain: as `launch_to_plain` wrote it.
        overrides: as typed now.
        config_dir: a folder of config files, as for `request`.

    Raises:
        ConfigError: an override is wrong, or would change the trials.
    """
    composed, _ = compose_points(overrides, user_folders(config_dir)).points[0]
    merged: dict[str, Any] = plain | {"paths": composed["paths"]}
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        group, _, leaf = key.partition(".")
        if group not in ("cluster", "tracking", "pack", "paths", "checkpoint", "record"):
            raise ConfigError(
                f"{override}: a sweep goes on with the trials it has; "
                "only cluster, tracking, pack, checkpoint, record, paths and the place of its "
                "data (data.path, data.cache) may change"
            )
        if leaf:
            merged[group] = merged.get(group, {}) | {leaf: composed[group][leaf.partition(".")[0]]}
        else:
            merged[group] = composed[group]
    return validated(LaunchConfig, merged)


def search_from_plain(plain: dict[str, Any]) -> SearchConfig:
    """Search settings of a recorded sweep."""
    return validated(LaunchConfig, {"search": plain}).search


def trial_from_plain(plain: dict[str, Any]) -> deq.TrialConfig:
    """Typed config of a trial from plain data as `trial_to_plain` wrote it."""
    return validated(deq.TrialConfig, plain)


def trial_to_plain(config: deq.TrialConfig) -> dict[str, Any]:
    """A trial's config as plain data, which is sent to workers and recorded."""
    return dumped(config)


def trial_to_yaml(config: deq.TrialConfig) -> str:
    """A trial's config as YAML, complete enough to run it again; its tolerance of windows shown."""
    plain = trial_to_plain(config)
    if config.train.integrator == "windows":
        plain["train"]["integrator_tol"] = config.integrator_tol
    return to_yaml(plain)
