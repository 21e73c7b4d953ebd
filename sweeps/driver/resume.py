"""Loads a launched sweep from the ledger, so that it can be launched again.

Its trials are the stored configs. The command is not composed again, so changes of conf/ or
of defaults since then do not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweeps.config.hashing import digests
from sweeps.config.launch import LaunchConfig
from sweeps.config.places import Contents, check_data, places_in, split_places
from sweeps.config.request import launch_from_plain, request
from sweeps.config.stored import canonical_of
from sweeps.driver.data_places import with_places
from sweeps.driver.trial_states import single_sweep
from sweeps.errors import ConfigError
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.ledger import SweepEntry, reading
from sweeps.storage.output_root import ledger_path, require_record


@dataclass(frozen=True)
class StoredSweep:
    """A sweep as the ledger holds it.

    Attributes:
        launch: its launch config, changed by the overrides of this command.
        trials: its trials; for an adaptive search, the cells that it searches.
        command: the command that launched it.
        sources: text of the user's config files that it was composed from, by file name.
    """

    launch: LaunchConfig
    trials: list[PlannedTrial]
    command: str
    sources: dict[str, str] = field(default_factory=dict)


def stored_sweep(
    prefix: str, overrides: Sequence[str], config_dir: str | Path | None = None
) -> StoredSweep:
    """Load the sweep whose name begins with a prefix.

    Args:
        prefix: the first digits of its name, or all.
        overrides: the overrides of this command; `data.path` and `data.cache` are the place where
            the trials' data lie now.
        config_dir: a folder of config files for these overrides; the config files that the
            sweep was composed from are not read again.

    Raises:
        ConfigError: no sweep, or more than one, has this prefix; an override would change a
            trial; or a config no longer has the hash under which it was recorded.
    """
    named, others = split_places(overrides)
    current = request(others, config_dir).launch
    output = Path(current.paths.output)
    contents = Contents(output)
    require_record(output)
    with reading(ledger_path(current)) as ledger:
        entry = single_sweep(ledger.sweeps_like(prefix), prefix)
        trials = _trials(entry)
        places = places_in(named, config_dir)
        plains = with_places([trial.plain for trial in trials], places, contents, ledger)
    launch = launch_from_plain(entry.spec["launch"], others, config_dir)
    if launch.search.adaptive:  # its data are read to plan it
        check_data(plains, contents)
    trials = [replace(trial, plain=plain) for trial, plain in zip(trials, plains, strict=True)]
    return StoredSweep(launch, trials, entry.spec["command"], entry.spec.get("sources", {}))


def _trials(entry: SweepEntry) -> list[PlannedTrial]:
    """Return a sweep's trials, or the cells that it searches.

    Raises:
        ConfigError: one no longer has the hash under which it was recorded.
    """
    command = entry.spec["command"]
    if "launch" not in entry.spec:
        raise ConfigError(f"sweep {entry.sweep} was recorded without its launch: `{command}` again")
    trials = [PlannedTrial(**trial) for trial in entry.spec.get("cells") or entry.spec["trials"]]
    for trial in trials:
        # An own activation is not imported: nothing may be left to train.
        if digests(canonical_of(trial.plain))[0] != trial.config_hash:
            raise ConfigError(
                f"trial {trial.name} of sweep {entry.sweep} has another hash in this version "
                f"of sweeps: `{command}` launches it as a new sweep"
            )
    return trials
