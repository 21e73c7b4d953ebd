"""A trial's four files in an archive, and the record they make when they hold together."""

import json
import re
import sys
from dataclasses import asdict, fields
from typing import Any

import deq
from sweeps.archive import layout
from sweeps.archive.layout import EnvironmentSheet, ResultSheet
from sweeps.archive.reader import ArchiveReader
from sweeps.archive.validation import plain_of, refuse_long, refuse_unprintable, typed
from sweeps.config.early_stopping import STOPPED, STOPPED_AT
from sweeps.config.hashing import digests
from sweeps.config.stored import canonical_of, with_defaults
from sweeps.errors import ConfigError
from sweeps.storage.record import Record, validated_columns
from sweeps.storage.step_metrics import MEASURED

STATUSES = frozenset(status.value for status in deq.Status)
METRIC = re.compile(r"[A-Za-z0-9_./: -]{1,200}")
DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?")
ACTIVATION = re.compile(r"\w+([.]\w+)*(:\w+)?")
LAST_MOMENT = 4_102_444_800_000  # the year 2100, in milliseconds
MOST_STEPS = 2**53


def place(digest: str, part: str) -> str:
    """Where a trial's file lies."""
    return f"trials/{digest}/{part}"


def files(record: Record) -> dict[str, bytes]:
    """A record's four files."""
    result = {f.name: getattr(record, f.name) for f in fields(ResultSheet)}
    return {
        place(record.config_hash, layout.CONFIG): as_json(record.config),
        place(record.config_hash, layout.RESULT): as_json(result),
        place(record.config_hash, layout.ENVIRONMENT): record.environment_json().encode(),
        place(record.config_hash, layout.TRAJECTORY): record.parquet(),
    }


def as_json(plain: object) -> bytes:
    """JSON that a person reads."""
    return (json.dumps(plain, indent=2, allow_nan=False) + "\n").encode()


def record(members: ArchiveReader, digest: str) -> Record:
    """The trial of an archive, its hash computed anew from its config.

    Raises:
        ConfigError: its files do not hold together, or are none of a trial.
    """
    where = f"trials/{digest[:12]}"
    config = plain_of(where, members.read(place(digest, layout.CONFIG)))
    config, cell = checked_config(where, config, digest)
    plain = plain_of(where, members.read(place(digest, layout.RESULT)))
    result = typed(ResultSheet, f"{where}/{layout.RESULT}", plain)
    if (result.config_hash, result.cell_hash) != (digest, cell):
        raise ConfigError(f"{where}: {layout.RESULT} is another trial's")
    _check_result(where, result)
    environment = plain_of(where, members.read(place(digest, layout.ENVIRONMENT)))
    _check_environment(where, environment)
    parquet = members.read(place(digest, layout.TRAJECTORY))
    most = config["train"]["steps"]
    try:
        trajectory = validated_columns(parquet, most + 2)
        _check_steps(trajectory.get("step", []), most)
    except ValueError as error:
        raise ConfigError(f"{where}/{layout.TRAJECTORY}: {error}") from error
    if missing := {"step", *MEASURED} - set(trajectory):
        raise ConfigError(f"{where}/{layout.TRAJECTORY} has no column {min(missing)!r}")
    return Record(**asdict(result), config=config, environment=environment, trajectory=trajectory)


def checked_config(where: str, config: dict[str, Any], digest: str) -> tuple[dict[str, Any], str]:
    """A config whose hash this is, with every key; and its cell hash.

    Raises:
        ConfigError: it has another hash, or is no trial's config.
    """
    try:
        whole = with_defaults(config)
        found, cell = digests(canonical_of(config))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if found != digest:
        raise ConfigError(f"{where}: its config has another hash: {found[:12]}")
    refuse_unprintable(where, whole)
    model = whole["model"]
    if not ACTIVATION.fullmatch(str(model["activation"])):
        raise ConfigError(f"{where}: model.activation={model['activation']!r} names none")
    if not isinstance(model["allow_ill_posed"], bool):
        raise ConfigError(f"{where}: model.allow_ill_posed is neither true nor false")
    return whole, cell


def _check_result(where: str, result: ResultSheet) -> None:
    refuse_unprintable(where, result.reason, result.notes)
    refuse_long(where, {"reason": result.reason} | result.notes)
    if result.status not in STATUSES:
        raise ConfigError(f"{where}: no trial ends {result.status[:40]!r}")
    if (result.status == STOPPED) != (STOPPED_AT in result.summary):
        raise ConfigError(f"{where}: it was stopped early at no step, or at a step and not early")
    if not DEVICE.fullmatch(result.device):
        raise ConfigError(f"{where}: {result.device[:40]!r} is no device")
    if not 0 <= result.started <= result.finished < LAST_MOMENT:
        raise ConfigError(f"{where}: it was finished before it was started, or in no known year")
    summary = result.summary
    for name in [*summary, *result.notes]:
        if not METRIC.fullmatch(name) or not abs(summary.get(name, 0)) <= sys.float_info.max:
            raise ConfigError(f"{where}: {name[:40]!r} is no metric's name, or its value no number")
    fitted = "rate/measured" in summary
    window = [summary.get("rate/window_start", -1), summary.get("rate/window_stop", -1)]
    if "time/seconds" not in summary or (fitted and not 0 <= window[0] <= window[1] <= MOST_STEPS):
        raise ConfigError(f"{where}: its summary lacks the seconds, or the window of its fit")


def _check_environment(where: str, environment: dict[str, Any]) -> None:
    sheet = typed(EnvironmentSheet, f"{where}/{layout.ENVIRONMENT}", environment)
    # A diff has lines, and is never printed.
    code = {key: value for key, value in sheet.code.items() if key != "diff"}
    refuse_unprintable(where, environment | {"code": code})
    refuse_long(where, environment | {"code": code})
    if not 1 <= sheet.threads <= 4096:
        raise ConfigError(f"{where}: it was trained with {sheet.threads} threads")


def _check_steps(steps: list[float | None], most: int) -> None:
    """Refuse GD steps that are not whole, do not rise, or go on after the last."""
    last = -1.0
    for step in steps:
        if step is None or step != int(step) or not last < step <= min(most, MOST_STEPS):
            raise ValueError("its steps do not rise to the last")
        last = step
