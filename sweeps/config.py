"""The door to Hydra, OmegaConf and pydantic: overrides in, typed trials out.

Hydra composes YAML; the axes are taken out of the overrides first and expanded here,
so that Hydra composes once per choice of groups and not once per trial. The composed
values are checked against the typed dataclasses once, at this door.
"""

import copy
import difflib
import functools
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

import deq
from sweeps.errors import ConfigError

TRIAL_KEYS = ("data", "model", "train", "solver", "diagnostics", "seed", "dtype")


@dataclass(frozen=True)
class ClusterConfig:
    """Where trials run, and with what."""

    name: Literal["local", "inline"] = "local"
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    max_retries: int = 2

    def __post_init__(self) -> None:
        """Refuse resources nothing could run on."""
        if self.cpus_per_trial < 1:
            raise ValueError(f"cpus_per_trial must be at least 1, not {self.cpus_per_trial}")
        if self.gpus_per_trial < 0 or self.max_retries < 0:
            raise ValueError("gpus_per_trial and max_retries must be at least 0")


@dataclass(frozen=True)
class TrackingConfig:
    """Where results are recorded."""

    name: Literal["local", "server"] = "local"
    uri: str = ""


@dataclass(frozen=True)
class SearchConfig:
    """How the search space is searched."""

    name: Literal["grid"] = "grid"


@dataclass(frozen=True)
class PathsConfig:
    """Where everything a command writes lies."""

    output: str = "outputs"


@dataclass(frozen=True)
class LaunchConfig:
    """What does not change a trial's numbers."""

    study: str = "default"
    axes: dict[str, Any] = field(default_factory=dict)
    pack: int = 1
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        """Refuse an empty study name or pack."""
        if not self.study.strip():
            raise ValueError("study must not be empty: it names the MLflow experiment")
        if self.pack < 1:
            raise ValueError(f"pack must be at least 1, not {self.pack}")


@dataclass(frozen=True)
class Composed:
    """One composed trial: its typed config and the axis values that make it differ."""

    trial: deq.TrialConfig
    varying: dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A whole command, composed: how to launch, and the trials."""

    launch: LaunchConfig
    trials: list[Composed]


def conf_dir() -> Path:
    """conf/ as it ships in the wheel, or beside the package in a checkout."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "conf"


def request(overrides: Sequence[str]) -> Request:
    """Compose a command's overrides into the trials they mean.

    Raises:
        ConfigError: any override, key, type or value is wrong.
    """
    points = list(_points(overrides))
    launch = _typed(LaunchConfig, {k: v for k, v in points[0][0].items() if k not in TRIAL_KEYS})
    trials: list[Composed] = []
    data_seen: dict[str, dict[str, Any]] = {}
    for plain, varying in points:
        part = {key: plain[key] for key in TRIAL_KEYS if key in plain}
        config: deq.TrialConfig = _typed(deq.TrialConfig, part)
        trials.append(Composed(_sealed(config, data_seen), varying))
    return Request(launch, trials)


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


def to_yaml(plain: dict[str, Any]) -> str:
    """Plain data as YAML, keys in their own order."""
    return yaml.safe_dump(plain, sort_keys=False)


def flattened(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        name = f"{prefix}{key}"
        flat |= flattened(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _points(overrides: Sequence[str]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every point of the search space: its plain config, and its axis values."""
    if GlobalHydra.instance().is_initialized():
        GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir().resolve()), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            parser = OverridesParser.create(config_loader=loader)
            parsed = [_parse(parser, text) for text in overrides]
            fixed = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
            axes = {_key(o): _choices(o) for o in parsed if o.is_sweep_override()}
            named = {_key(o) for o in parsed}
            groups = {key for key in loader.list_groups("") if not key.startswith("hydra")}
            yield from _expand(parser, fixed, axes, named, groups)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explained(error, overrides)) from error


def _expand(
    parser: OverridesParser,
    fixed: list[str],
    axes: dict[str, list[Any]],
    named: set[str],
    groups: set[str],
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    group_axes = {key: values for key, values in axes.items() if key in groups}
    for chosen in itertools.product(*group_axes.values()):
        choices = dict(zip(group_axes, chosen, strict=True))
        config = compose("config", [*fixed, *(f"{k}={v}" for k, v in choices.items())])
        plain = OmegaConf.to_container(config, resolve=True)
        assert isinstance(plain, dict)
        declared = plain.get("axes") or {}
        if not isinstance(declared, dict):
            raise ConfigError("axes must map keys to values, e.g. axes: {model.width: [64, 128]}")
        own = {
            str(key): _declared(parser, str(key), values)
            for key, values in declared.items()
            if str(key) not in named
        }
        inner = {key: values for key, values in own.items() if key in groups}
        if inner:  # an experiment's axis over a group: compose again with each choice
            yield from _expand(parser, fixed, axes | inner, named | set(own) - set(inner), groups)
            continue
        values = {key: v for key, v in {**own, **axes}.items() if key not in groups}
        for picked in itertools.product(*values.values()):
            point = copy.deepcopy(plain)
            varying = dict(zip(values, picked, strict=True))
            for key, value in varying.items():
                _assign(point, key, value)
            yield _strings(point), choices | varying


def _parse(parser: OverridesParser, text: str) -> Override:
    try:
        override: Override = parser.parse_overrides([text])[0]
    except HydraException as error:
        why = str(error).strip().splitlines()[0]
        raise ConfigError(f"cannot read the override {text!r}: {why}") from error
    if override.is_interval_sweep():
        raise ConfigError(
            f"{text!r} is an interval, and a grid needs values: give a list or range()"
        )
    return override


def _key(override: Override) -> str:
    return str(override.key_or_group)


def _choices(override: Override) -> list[Any]:
    """The values of a sweep override, as plain data."""
    values = [
        v.text if isinstance(v, QuotedString) else v
        for v in override.sweep_iterator(transformer=lambda x: x)
    ]
    if not values:
        shown = override.input_line
        what = "matches nothing" if isinstance(override.value(), Glob) else "has no values"
        raise ConfigError(f"the axis {shown!r} {what}")
    return values


def _declared(parser: OverridesParser, key: str, values: Any) -> list[Any]:
    """An axis of an experiment file: a list, or text in Hydra's sweep grammar."""
    if isinstance(values, str):
        override = _parse(parser, f"{key}={values}")
        return _choices(override) if override.is_sweep_override() else [override.value()]
    return list(values) if isinstance(values, list) else [values]


def _assign(plain: dict[Any, Any], key: str, value: Any) -> None:
    *path, leaf = key.split(".")
    place: Any = plain
    for part in path:
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, dict) or leaf not in place:
        raise ConfigError(f"no key {key!r} to sweep{_nearest(key, flattened(_strings(plain)))}")
    place[leaf] = value


def _strings(plain: dict[Any, Any]) -> dict[str, Any]:
    return {str(k): v for k, v in plain.items()}


def _nearest(key: str, known: dict[str, Any] | Sequence[str]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else ": `sweeps show` prints all keys"


def _explained(error: Exception, overrides: Sequence[str]) -> str:
    """Hydra's error in one line, with the nearest right name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        group = conf_dir() / key
        if group.is_dir() and value and f"{key}/{value}" in str(error):
            options = sorted(p.stem for p in group.glob("*.yaml"))
            return f"{override}: no such {key}; there is {', '.join(options)}"
        if key in text:
            known = flattened(yaml.safe_load((conf_dir() / "config.yaml").read_text()))
            names = [k for k in known if k != "defaults"]
            names += [p.name for p in conf_dir().iterdir() if p.is_dir()]
            return f"{override}: no such key{_nearest(key, names)}"
    return text


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
    for key in flattened({k: v for k, v in plain.items() if k != "axes"}):
        if key not in known:
            raise ConfigError(f"no key {key!r}{_nearest(key, known)}")
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


def _sealed(config: deq.TrialConfig, seen: dict[str, dict[str, Any]]) -> deq.TrialConfig:
    """Check that the data set exists and holds n samples; pin what lies in a user's files.

    Those are an .npz file and the module of an own activation.
    """
    data = config.data
    key = json.dumps(asdict(data), sort_keys=True)
    try:
        if key not in seen:
            sealed: dict[str, Any] = {}
            if isinstance(data, deq.NpzConfig):
                sealed = {"sha256": data.sha256 or deq.digest(data)}
                sealed["path"] = str(Path(data.path).resolve())
            dataset = deq.load(replace(data, **sealed))
            if isinstance(data, deq.NpzConfig):
                sealed["n"] = dataset.x.shape[1]
            seen[key] = sealed
    except ValueError as error:
        raise ConfigError(f"data={data.name}: {error}") from error
    try:
        digest = deq.activation_digest(config.model.activation)
    except ValueError as error:
        raise ConfigError(f"model.{error}") from error
    model = replace(config.model, activation_sha256=digest)
    return replace(config, data=replace(data, **seen[key]), model=model)
