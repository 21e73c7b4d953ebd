"""A sweep's own page in an archive, and the entry it makes in a ledger."""

from dataclasses import asdict
from typing import Any

from sweeps.archive import layout
from sweeps.archive.layout import FailureSheet, SweepSheet, TrialSheet
from sweeps.archive.members import Members
from sweeps.archive.sheets import plain_of, refuse_unprintable, typed
from sweeps.archive.trials import check_config
from sweeps.config import LaunchConfig, launch_from_plain, launch_to_plain
from sweeps.errors import ConfigError
from sweeps.figures import FIGURES
from sweeps.identity import set_hash
from sweeps.ledger import Failure, SweepEntry
from sweeps.plain import flattened

# How a sweep was launched stays where it was: addresses and paths of another machine.
ELSEWHERE = ("cluster", "tracking", "paths")
MOST_TEXT = 500


def sheet(entry: SweepEntry, failures: dict[str, Failure]) -> SweepSheet:
    """What an archive says of a sweep."""
    spec = entry.spec
    axes: dict[str, list[Any]] = {}
    for trial in spec["trials"]:
        for key, value in trial["varying"].items():
            values = axes.setdefault(key, [])
            if value not in values:
                values.append(value)
    launch = {k: v for k, v in spec.get("launch", {}).items() if k not in ELSEWHERE}
    return SweepSheet(
        sweep=entry.sweep,
        study=entry.study,
        command=spec["command"],
        figure=spec["figure"],
        started=spec.get("started") or 0,
        axes=axes,
        launch=launch,
        trials=[TrialSheet(**trial) for trial in spec["trials"]],
        reused=spec["reused"],
        failures={digest: FailureSheet(f.error, f.final) for digest, f in failures.items()},
    )


def read(members: Members) -> SweepSheet:
    """The sweep of an archive, every hash computed anew.

    Raises:
        ConfigError: it does not hold together.
    """
    plain = plain_of(layout.SWEEP, members.read(layout.SWEEP))
    found = typed(SweepSheet, layout.SWEEP, plain)
    errors = [failure.error for failure in found.failures.values()]
    refuse_unprintable(layout.SWEEP, found.command, errors)
    for text in (found.study, *(trial.name for trial in found.trials)):
        # A dollar would be mathematics in a figure.
        if not text.strip() or len(text) > MOST_TEXT or not text.isprintable() or "$" in text:
            raise ConfigError(f"{layout.SWEEP}: {text[:40]!r} is no name")
    if found.figure not in FIGURES:
        raise ConfigError(f"{layout.SWEEP}: no figure {found.figure[:40]!r}")
    hashes = [trial.config_hash for trial in found.trials]
    if not hashes or len(set(hashes)) != len(hashes):
        raise ConfigError(f"{layout.SWEEP} has no trials, or one twice")
    if set_hash(hashes) != found.sweep or found.sweep != members.manifest.sweep:
        raise ConfigError(f"{layout.SWEEP}: {found.sweep[:40]!r} is not the hash of its trials")
    for trial in found.trials:
        _check_trial(trial)
    results = set(members.hashes())
    if strange := (results | {*found.reused, *found.failures}) - set(hashes):
        raise ConfigError(f"{min(strange)[:12]!r} is no trial of sweep {found.sweep}")
    return found


def entry(found: SweepSheet, here: LaunchConfig) -> SweepEntry:
    """The sweep for the ledger of another output root; its page in MLflow is yet to be made.

    Raises:
        ConfigError: this version could not launch it so.
    """
    spec: dict[str, Any] = {
        "command": found.command,
        "figure": found.figure,
        "started": found.started,
        "reused": found.reused,
        "trials": [asdict(trial) for trial in found.trials],
    }
    if found.launch:
        ours = {key: launch_to_plain(here)[key] for key in ELSEWHERE}
        launch = launch_from_plain(found.launch | ours, [])
        if launch.study != found.study:
            raise ConfigError(f"{layout.SWEEP}: its study has two names")
        spec["launch"] = launch_to_plain(launch)
    return SweepEntry(found.study, found.sweep, spec, "", "", "RUNNING")


def _check_trial(trial: TrialSheet) -> None:
    where = f"{layout.SWEEP}: {trial.config_hash[:12]}"
    if check_config(where, trial.plain, trial.config_hash) != trial.cell_hash:
        raise ConfigError(f"{where}: its cell hash is another")
    if trial.bytes < 0 or trial.pack < 1:
        raise ConfigError(f"{where}: it takes no memory, or no pack")
    flat = flattened(trial.plain)
    for key, value in trial.varying.items():
        # A group's choice is known by its name.
        if flat.get(key, flat.get(f"{key}.name", value)) != value:
            raise ConfigError(f"{where}: {key[:40]!r} is not {value!r} in its config")
    refuse_unprintable(where, trial.varying)
