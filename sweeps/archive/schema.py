"""Convert a sweep between its ledger entry and its description in an archive (sweep.json)."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from sweeps.archive import layout
from sweeps.archive.layout import ArchivedFailure, ArchivedSweep, ArchivedTrial
from sweeps.archive.reader import ArchiveReader
from sweeps.archive.trials import checked_config
from sweeps.archive.validation import json_object, typed
from sweeps.config.launch import LaunchConfig
from sweeps.config.request import launch_from_plain, launch_to_plain
from sweeps.errors import ConfigError
from sweeps.planning.plan import PlannedTrial, axes_of
from sweeps.reports.figures import FIGURES
from sweeps.search.factory import sweep_name
from sweeps.storage.ledger import Failure, SweepEntry

# Parts of the launch config that stay on the machine: addresses, paths and the like.
NOT_ARCHIVED = ("cluster", "tracking", "checkpoint", "record", "paths")


def to_archived(entry: SweepEntry, failures: Mapping[str, Failure]) -> ArchivedSweep:
    """Describe a sweep for an archive.

    Args:
        entry: the sweep in the ledger.
        failures: by config hash, for trials without a result.

    Raises:
        ConfigError: an early version recorded the sweep, without its launch config.
    """
    spec = entry.spec
    if "launch" not in spec:
        raise ConfigError(
            f"sweep {entry.sweep} was recorded by an early version, without its launch config: "
            f"run `{spec['command']}` again"
        )
    return ArchivedSweep(
        sweep=entry.sweep,
        study=entry.study,
        command=spec["command"],
        figure=spec["figure"],
        started=spec["started"],
        axes=axes_of(trial["varying"] for trial in spec["trials"]),
        launch={k: v for k, v in spec["launch"].items() if k not in NOT_ARCHIVED},
        cells=[ArchivedTrial(**cell) for cell in spec.get("cells", [])],
        trials=[ArchivedTrial(**trial) for trial in spec["trials"]],
        reused=spec["reused"],
        failures={digest: ArchivedFailure(f.error, f.final) for digest, f in failures.items()},
        sources=spec.get("sources", {}),
    )


def read_sweep(reader: ArchiveReader) -> ArchivedSweep:
    """Read sweep.json and recompute the hash of every trial in it.

    Raises:
        ConfigError: a value, a hash or a name is wrong, or a result belongs to no trial.
    """
    sweep = typed(ArchivedSweep, layout.SWEEP, json_object(layout.SWEEP, reader.read(layout.SWEEP)))
    if sweep.figure not in FIGURES:
        raise ConfigError(f"{layout.SWEEP}: there is no figure {sweep.figure[:40]!r}")
    if sweep.sweep != reader.manifest.sweep:
        raise ConfigError(f"{layout.SWEEP}: the manifest names another sweep")
    hashes = {trial.config_hash for trial in sweep.trials}
    if not hashes or len(hashes) != len(sweep.trials):
        raise ConfigError(f"{layout.SWEEP} has no trials, or the same trial twice")
    if unknown := {*reader.trial_hashes(), *sweep.reused, *sweep.failures} - hashes:
        raise ConfigError(f"{min(unknown)[:12]!r} is not a trial of sweep {sweep.sweep}")
    return replace(
        sweep,
        cells=[_checked(trial) for trial in sweep.cells],
        trials=[_checked(trial) for trial in sweep.trials],
    )


def to_entry(sweep: ArchivedSweep, config: LaunchConfig) -> SweepEntry:
    """Make the ledger entry of an archived sweep; it has no run in MLflow yet.

    Args:
        sweep: the sweep as archived.
        config: launch config of the importing command; gives the parts in NOT_ARCHIVED.

    Raises:
        ConfigError: the launch config is wrong, or the sweep's name is not its hash.
    """
    own = {key: launch_to_plain(config)[key] for key in NOT_ARCHIVED}
    launch = launch_from_plain(sweep.launch | own, [])
    if launch.study != sweep.study:
        raise ConfigError(f"{layout.SWEEP}: `study` and `launch.study` differ")
    cells = [PlannedTrial(**vars(trial)) for trial in sweep.cells or sweep.trials]
    if sweep.sweep != sweep_name(launch, cells):
        raise ConfigError(f"{layout.SWEEP}: {sweep.sweep[:40]!r} is not the hash of its trials")
    spec: dict[str, Any] = {
        "command": sweep.command,
        "sources": sweep.sources,
        "figure": sweep.figure,
        "launch": launch_to_plain(launch),
        "started": sweep.started,
        "cells": [asdict(cell) for cell in sweep.cells],
        "reused": sweep.reused,
        "trials": [asdict(trial) for trial in sweep.trials],
    }
    return SweepEntry(sweep.study, sweep.sweep, spec, "", "", "RUNNING")


def _checked(trial: ArchivedTrial) -> ArchivedTrial:
    """Return the trial with its full config, after recomputing its hashes."""
    where = f"{layout.SWEEP}: {trial.config_hash[:12]}"
    plain, cell_hash = checked_config(where, trial.plain, trial.config_hash)
    if cell_hash != trial.cell_hash:
        raise ConfigError(f"{where}: its cell hash is wrong")
    return replace(trial, plain=plain)
