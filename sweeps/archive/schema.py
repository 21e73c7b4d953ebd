"""A sweep's own page in an archive, and the entry it makes in a ledger."""

from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

from sweeps.archive import layout
from sweeps.archive.layout import FailureSheet, SweepSheet, TrialSheet
from sweeps.archive.reader import ArchiveReader
from sweeps.archive.trials import checked_config
from sweeps.archive.validation import plain_of, refuse_long, refuse_unprintable, typed
from sweeps.config.nested import flatten
from sweeps.config.request import LaunchConfig, launch_from_plain, launch_to_plain
from sweeps.errors import ConfigError
from sweeps.planning.plan import PlannedTrial, axes_of
from sweeps.reports.figures import FIGURES
from sweeps.search.factory import sweep_name
from sweeps.storage.ledger import Failure, SweepEntry

# How a sweep was launched stays where it was: addresses and paths of another machine.
ELSEWHERE = ("cluster", "tracking", "checkpoint", "record", "paths")
MOST_TEXT, MOST_COMMAND = 500, 5000


def sheet(entry: SweepEntry, failures: dict[str, Failure]) -> SweepSheet:
    """What an archive says of a sweep.

    Raises:
        ConfigError: an early version recorded it, without its launch.
    """
    spec = entry.spec
    if "launch" not in spec:
        raise ConfigError(
            f"sweep {entry.sweep} was recorded without its launch: `{spec['command']}` again"
        )
    return SweepSheet(
        sweep=entry.sweep,
        study=entry.study,
        command=spec["command"],
        figure=spec["figure"],
        started=spec["started"],
        axes=axes_of(trial["varying"] for trial in spec["trials"]),
        launch={k: v for k, v in spec["launch"].items() if k not in ELSEWHERE},
        cells=[TrialSheet(**cell) for cell in spec.get("cells", [])],
        trials=[TrialSheet(**trial) for trial in spec["trials"]],
        reused=spec["reused"],
        failures={digest: FailureSheet(f.error, f.final) for digest, f in failures.items()},
        sources=spec.get("sources", {}),
    )


def read(members: ArchiveReader) -> SweepSheet:
    """The sweep of an archive, every hash computed anew.

    Raises:
        ConfigError: it does not hold together.
    """
    plain = plain_of(layout.SWEEP, members.read(layout.SWEEP))
    found = typed(SweepSheet, layout.SWEEP, plain)
    errors = [failure.error for failure in found.failures.values()]
    refuse_unprintable(layout.SWEEP, found.command, errors)
    refuse_long(layout.SWEEP, {"command": found.command}, MOST_COMMAND)
    refuse_unprintable(layout.SWEEP, list(found.sources))
    for text in (found.study, *(trial.name for trial in found.cells + found.trials)):
        # A dollar would be mathematics in a figure.
        if not text.strip() or len(text) > MOST_TEXT or not text.isprintable() or "$" in text:
            raise ConfigError(f"{layout.SWEEP}: {text[:40]!r} is no name")
    if found.figure not in FIGURES:
        raise ConfigError(f"{layout.SWEEP}: no figure {found.figure[:40]!r}")
    hashes = [trial.config_hash for trial in found.trials]
    if not hashes or len(set(hashes)) != len(hashes):
        raise ConfigError(f"{layout.SWEEP} has no trials, or one twice")
    found = replace(
        found,
        cells=[_checked(trial, found.sources) for trial in found.cells],
        trials=[_checked(trial, found.sources) for trial in found.trials],
    )
    if found.sweep != members.manifest.sweep:
        raise ConfigError(f"{layout.SWEEP}: the manifest is another sweep's")
    results = set(members.hashes())
    if strange := (results | {*found.reused, *found.failures}) - set(hashes):
        raise ConfigError(f"{min(strange)[:12]!r} is no trial of sweep {found.sweep}")
    return found


def entry(found: SweepSheet, here: LaunchConfig) -> SweepEntry:
    """The sweep for the ledger of another output root; its page in MLflow is yet to be made.

    Raises:
        ConfigError: this version could not launch it so, or would call it otherwise.
    """
    ours = {key: launch_to_plain(here)[key] for key in ELSEWHERE}
    launch = launch_from_plain(found.launch | ours, [])
    if launch.study != found.study:
        raise ConfigError(f"{layout.SWEEP}: its study has two names")
    cells = [PlannedTrial(**vars(trial)) for trial in found.cells or found.trials]
    if found.sweep != sweep_name(launch, cells):
        raise ConfigError(f"{layout.SWEEP}: {found.sweep[:40]!r} is not the hash of its trials")
    spec: dict[str, Any] = {
        "command": found.command,
        "sources": found.sources,
        "figure": found.figure,
        "launch": launch_to_plain(launch),
        "started": found.started,
        "cells": [asdict(cell) for cell in found.cells],
        "reused": found.reused,
        "trials": [asdict(trial) for trial in found.trials],
    }
    return SweepEntry(found.study, found.sweep, spec, "", "", "RUNNING")


def _checked(trial: TrialSheet, sources: Collection[str]) -> TrialSheet:
    where = f"{layout.SWEEP}: {trial.config_hash[:12]}"
    plain, cell = checked_config(where, trial.plain, trial.config_hash)
    if cell != trial.cell_hash:
        raise ConfigError(f"{where}: its cell hash is another")
    if trial.bytes < 0 or trial.pack < 1:
        raise ConfigError(f"{where}: it takes no memory, or no pack")
    flat = flatten(plain)
    for key, value in trial.varying.items():
        if f"{key}/{value}.yaml" in sources:
            continue  # a user's own choice, which no key of the config names
        # A group's choice is known by its name.
        if flat.get(key, flat.get(f"{key}.name", value)) != value:
            raise ConfigError(f"{where}: {key[:40]!r} is not {value!r} in its config")
    refuse_unprintable(where, trial.varying)
    return replace(trial, plain=plain)
