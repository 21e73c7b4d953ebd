"""The door to pydantic: composed values, checked once against the typed configs."""

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

import deq
from sweeps.composition import points, with_values
from sweeps.errors import ConfigError
from sweeps.plain import flattened, nearest, to_yaml
from sweeps.redaction import without_secrets
from sweeps.sealing import Sealed, seal_data, sealed
from sweeps.search.config import GridConfig, RandomConfig, SearchConfig, check_space
from sweeps.search.random import draws
from sweeps.search.space import Choice

Figure = Literal[
    "rates",
    "curves",
    "width_scaling",
    "activations",
    "stability",
    "sigma_w",
    "output_scale",
    "frontier",
    "best",
]
# Of a study: MLflow keeps no longer name of an experiment in every database.
MOST_LETTERS = 200
TRIAL_KEYS = ("data", "model", "train", "solver", "diagnostics", "seed", "dtype")


@dataclass(frozen=True)
class ClusterConfig:
    """Where trials run, and with what. What is given to a trial is given to a pack of them.

    Attributes:
        name: a Ray of its own on this machine, an existing cluster, or this very process.
        address: HOST:PORT of an existing cluster's head.
        cpus_per_trial: CPUs, and the threads that train on them.
        gpus_per_trial: GPUs: a fraction of one, or whole ones.
        memory_gb_per_trial: GB (10^9 bytes) a node must have free of other trials' share.
        resources: the cluster's own resources, by their names there.
        max_retries: how often a pack is tried again whose worker died.
    """

    name: Literal["local", "ray", "inline"] = "local"
    address: str = ""
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    memory_gb_per_trial: float = 0.0
    resources: dict[str, float] = field(default_factory=dict)
    max_retries: int = 2

    def __post_init__(self) -> None:
        """Refuse resources nothing could run on."""
        if self.cpus_per_trial < 1:
            raise ValueError(f"cpus_per_trial must be at least 1, not {self.cpus_per_trial}")
        if min(self.gpus_per_trial, self.memory_gb_per_trial, self.max_retries) < 0:
            raise ValueError(
                "gpus_per_trial, memory_gb_per_trial and max_retries must be at least 0"
            )
        if self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ValueError(f"gpus_per_trial={self.gpus_per_trial:g}: above 1, whole GPUs only")
        for name, amount in self.resources.items():
            if amount <= 0 or name in ("CPU", "GPU", "cpu", "gpu", "memory"):
                raise ValueError(
                    f"resources.{name}={amount:g}: give a positive amount of a resource of the "
                    "cluster's own; CPUs, GPUs and memory have keys of their own"
                )


@dataclass(frozen=True)
class TrackingConfig:
    """Where results are recorded.

    Attributes:
        name: MLflow embedded under the output root, or a server.
        uri: the server's address.
        lease: seconds after which a driver that is not heard of is taken for dead, and the
            run of its sweep is closed by whoever else works in that experiment.
    """

    name: Literal["local", "server"] = "local"
    uri: str = ""
    lease: float = 120.0

    def __post_init__(self) -> None:
        """Refuse a lease that no driver could keep."""
        if not 1 <= self.lease < math.inf:
            raise ValueError(f"lease must be at least 1 second, not {self.lease:g}")


@dataclass(frozen=True)
class CheckpointConfig:
    """How often a pack that trains is written to disk.

    Attributes:
        every_seconds: seconds from one time to the next; 0: never, nor gone on from.
    """

    every_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse a time below 0."""
        if self.every_seconds < 0:
            raise ValueError(f"every_seconds must be at least 0, not {self.every_seconds:g}")


@dataclass(frozen=True)
class PathsConfig:
    """Where everything a command writes lies."""

    output: str = "outputs"


@dataclass(frozen=True)
class LaunchConfig:
    """What does not change a trial's numbers."""

    study: str = "default"
    figure: Figure = "rates"
    axes: dict[str, Any] = field(default_factory=dict)
    size: Literal["laptop", "paper"] = "laptop"
    paper: dict[str, Any] = field(default_factory=dict)
    pack: int | Literal["auto"] = "auto"
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    search: SearchConfig = field(default_factory=GridConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        """Refuse an empty study name or pack."""
        if not self.study.strip():
            raise ValueError("study must not be empty: it names the MLflow experiment")
        if len(self.study) > MOST_LETTERS or not self.study.isprintable():
            raise ValueError(
                f"study={self.study[:20]!r}: it names the MLflow experiment: give at most "
                f"{MOST_LETTERS} characters that can be printed"
            )
        if not self.study.strip("."):
            raise ValueError(f"study={self.study} is a folder's name, and no study's")
        if self.pack != "auto" and self.pack < 1:
            raise ValueError(f"pack must be auto or at least 1, not {self.pack}")


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
    """A whole command, composed: how to launch, and the trials."""

    launch: LaunchConfig
    trials: list[Composed]


def request(overrides: Sequence[str]) -> Request:
    """Compose a command's overrides into the trials they mean.

    A search that learns as it goes has no trials yet: those given are the cells it searches,
    at the defaults of the keys it will set.

    Raises:
        ConfigError: any override, key, type or value is wrong.
    """
    found = list(points(overrides))
    launch = _typed(LaunchConfig, {k: v for k, v in found[0][0].items() if k not in TRIAL_KEYS})
    try:
        check_space(launch.search)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    drawn = draws(launch.search) if isinstance(launch.search, RandomConfig) else [{}]
    trials: list[Composed] = []
    seen: dict[str, Sealed] = {}
    for plain, varying in found:
        _check_ends(plain, launch.search)
        for values in drawn:
            point = with_values(plain, values) if values else plain
            trials.append(_composed(point, varying | values, launch.paths, seen))
    return Request(launch, trials)


def changed(
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
    point = with_values(plain, values)
    # What was pinned to the old values is pinned anew.
    if any(key.startswith("data.") for key in values) and "sha256" in point["data"]:
        point["data"]["sha256"] = ""
    if "model.activation" in values:
        point["model"]["activation_sha256"] = ""
    return _composed(point, varying, paths, seen)


def _composed(
    plain: dict[str, Any], varying: dict[str, Any], paths: PathsConfig, seen: dict[str, "Sealed"]
) -> Composed:
    config: deq.TrialConfig = _typed(deq.TrialConfig, _trial_part(plain))
    data = seal_data(config.data, Path(paths.output), seen)
    return Composed(sealed(config, data), varying, data.shape)


def _trial_part(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: plain[key] for key in TRIAL_KEYS if key in plain}


def _check_ends(plain: dict[str, Any], search: SearchConfig) -> None:
    """Refuse a space that holds what no trial can be, before one is drawn from it."""
    for key, dimension in search.space.items():
        ends = (
            dimension.values if isinstance(dimension, Choice) else [dimension.low, dimension.high]
        )
        for value in ends:
            _typed(deq.TrialConfig, _trial_part(with_values(plain, {key: value})))


def launch_to_plain(config: LaunchConfig) -> dict[str, Any]:
    """Plain data that launches the same again; no password is in it."""
    plain: dict[str, Any] = asdict(config)
    plain["tracking"]["uri"] = without_secrets(config.tracking.uri)
    return plain


def launch_from_plain(plain: dict[str, Any], overrides: Sequence[str]) -> LaunchConfig:
    """How a sweep was launched, changed by what is typed now; paths are those of now.

    Raises:
        ConfigError: an override is wrong, or names what is part of a trial.
    """
    composed, _ = next(iter(points(overrides)))
    merged: dict[str, Any] = plain | {"paths": composed["paths"]}
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        group, _, leaf = key.partition(".")
        if group not in ("cluster", "tracking", "pack", "paths", "checkpoint"):
            raise ConfigError(
                f"{override}: a sweep goes on with the trials it has; "
                "only cluster, tracking, pack, checkpoint and paths may change"
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
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config), allow_nan=False))
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
    known = flattened(asdict(config))
    for key in flattened({k: v for k, v in plain.items() if k not in ("axes", "paper")}):
        if key not in known:
            raise ConfigError(f"no key {key!r}{nearest(key, known)}")
    return config


@functools.cache
def _adapter(cls: type) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def _refuse_odd(plain: dict[str, Any]) -> None:
    """What pydantic would let through: true as a number, NaN and infinity."""
    for key, value in flattened(plain).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key}={value}: a configuration holds finite numbers only")
        if isinstance(value, bool) and key.rsplit(".", 1)[-1] != "allow_ill_posed":
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
