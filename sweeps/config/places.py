"""Places of the data that stored trials train on: no part of a trial, so they may change."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import deq
from sweeps.config.config_files import user_folders
from sweeps.config.hydra import compose_points
from sweeps.config.pinning import cache_of
from sweeps.config.request import trial_from_plain
from sweeps.errors import ConfigError

Plain = dict[str, Any]
# Keys that name a place: a choice of `data` that has the key, and what the place is.
_KEYS = {"path": ("npz", "FILE"), "cache": ("mnist", "FOLDER")}


class Place(NamedTuple):
    """A place of data: `path` and a file, or `cache` and a folder."""

    key: str
    value: str

    def __str__(self) -> str:
        """As it is typed."""
        return f"data.{self.key}={self.value}"


class Contents:
    """Reads the content of places; each is read once."""

    def __init__(self, output: Path) -> None:
        """Prepare.

        Args:
            output: the output root: data sets are downloaded into no folder outside of it.
        """
        self._output = output
        self._faults: dict[str, str] = {}

    def fault(self, data: Plain) -> str:
        """Return why data are not there with the recorded content; empty where they are.

        Args:
            data: the `data` part of a stored trial.
        """
        if place_of(data) is None:
            return ""
        key = json.dumps(data, sort_keys=True)
        if key not in self._faults:
            self._faults[key] = self._read(data)
        return self._faults[key]

    def _read(self, data: Plain) -> str:
        config = trial_from_plain({"data": data}).data
        assert isinstance(config, deq.NpzConfig | deq.OpenmlConfig)
        try:
            if isinstance(config, deq.OpenmlConfig):
                cache_of(config, self._output)
            digest = deq.digest(config)
        except ConfigError:
            return f"{place_of(data)} has no {data['name']}.npz that can be read"
        except ValueError as error:
            return str(error)
        if digest == config.sha256:
            return ""
        return (
            f"{place_of(data)} has other content than when the trial was composed: its SHA-256 is "
            f"{digest[:12]}..., not {config.sha256[:12]}..."
        )


def place_of(data: Plain) -> Place | None:
    """Return the place in the `data` part of a trial; None for data that lie in no file."""
    return next((Place(key, data[key]) for key in _KEYS if data.get(key)), None)


def split_places(overrides: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split overrides into those that name the place of data, and the others."""
    places: list[str] = []
    others: list[str] = []
    names = {f"data.{key}" for key in _KEYS}
    for word in overrides:
        (places if word.partition("=")[0] in names else others).append(word)
    return places, others


def places_in(words: Iterable[str], config_dir: str | Path | None = None) -> list[Place]:
    """Return the places that overrides name; `data.path=A,B` names two.

    Args:
        words: as `split_places` returns them.
        config_dir: a folder of config files, as for `request`.

    Raises:
        ConfigError: one cannot be read as an override, or names no place.
    """
    places: dict[Place, None] = {}
    for word in words:
        key = word.partition("=")[0].partition(".")[2]
        choice, kind = _KEYS[key]
        points = compose_points([f"data={choice}", word], user_folders(config_dir)).points
        for value in (plain["data"][key] for plain, _ in points):
            if not value or not isinstance(value, str):
                raise ConfigError(f"{word}: give the new place, data.{key}={kind}", key=word)
            places[Place(key, str(Path(value).resolve()))] = None
    return list(places)


def moved(plains: Sequence[Plain], places: Sequence[Place], contents: Contents) -> list[Plain]:
    """Return stored trials with the new places of their data.

    Args:
        plains: the trials.
        places: the new places; each is that of the trials whose data it holds.
        contents: reads them.

    Raises:
        ConfigError: a place does not hold the data of any of the trials.
    """
    by_content: dict[str, Place] = {}
    for place in places:
        faults = {}
        for data in [plain["data"] for plain in plains if _has(plain["data"], place.key)]:
            faults[data.get("sha256", "")] = contents.fault(data | {place.key: place.value})
        holds = [digest for digest, fault in faults.items() if not fault]
        if not holds:
            raise ConfigError(next(iter(faults.values()), _without(place)), key=f"data.{place.key}")
        by_content |= dict.fromkeys(holds, place)
    return [placed(plain, by_content) for plain in plains]


def placed(plain: Plain, by_content: dict[str, Place]) -> Plain:
    """Return a stored trial with the place of its data's content, where that is known.

    Args:
        plain: the trial.
        by_content: places, by `data.sha256`.
    """
    place = by_content.get(plain["data"].get("sha256", ""))
    return plain | {"data": plain["data"] | {place.key: place.value}} if place else plain


def places_by_content(plains: Iterable[Plain]) -> dict[str, Place]:
    """Return the places of these trials' data, by `data.sha256`."""
    pairs = ((plain["data"], place_of(plain["data"])) for plain in plains)
    return {data["sha256"]: place for data, place in pairs if place and data.get("sha256")}


def check_data(plains: Iterable[Plain], contents: Contents) -> None:
    """Refuse stored trials whose data are not where they were, or have other content now.

    Args:
        plains: the trials.
        contents: reads the data.

    Raises:
        ConfigError: the text names the place, and how to give another one.
    """
    for data in (plain["data"] for plain in plains):
        if fault := contents.fault(data):
            place = place_of(data)
            assert place is not None
            example = f"data.{place.key}={_KEYS[place.key][1]}"
            raise ConfigError(
                f"{fault}: put it back, or give the place where it lies now, {example}",
                key=f"data.{place.key}",
                value=place.value,
            )


def check_activations(plains: Iterable[Plain]) -> None:
    """Refuse stored trials whose own activation is not there, or has another source now.

    Args:
        plains: the trials.

    Raises:
        ConfigError: the text names the activation.
    """
    own = (plain for plain in plains if ":" in plain["model"]["activation"])
    by_model = {json.dumps(plain["model"], sort_keys=True): plain for plain in own}
    for plain in by_model.values():
        trial_from_plain(plain)


def _has(data: Plain, key: str) -> bool:
    place = place_of(data)
    return place is not None and place.key == key


def _without(place: Place) -> str:
    return f"{place}: no trial here has data that lie in such a place, data={_KEYS[place.key][0]}"
