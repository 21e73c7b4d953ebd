"""A sweep launched before, ready to be launched again from what the ledger holds of it.

Its trials are the stored configs and not the command composed anew: they are what the
sweep's name stands for, whatever became of conf/ or the defaults since.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweeps.config.hashing import config_hash
from sweeps.config.request import LaunchConfig, launch_from_plain, request, trial_from_plain
from sweeps.driver.trial_states import only
from sweeps.errors import ConfigError
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.ledger import reading
from sweeps.storage.output_root import ledger_path, require_record


@dataclass(frozen=True)
class Stored:
    """A sweep as the ledger holds it.

    Attributes:
        launch: how it was launched, changed by what is typed now.
        trials: its trials; of a search that learns as it goes, the cells that it searches.
        command: what launched it.
        sources: the texts of a user's config files that it was composed from, by name.
    """

    launch: LaunchConfig
    trials: list[PlannedTrial]
    command: str
    sources: dict[str, str] = field(default_factory=dict)


def stored(prefix: str, overrides: Sequence[str], config_dir: str | Path | None = None) -> Stored:
    """The sweep whose name begins so, of several studies with these trials the latest.

    Args:
        prefix: the first digits of its name, or all.
        overrides: as typed now.
        config_dir: a folder of config files, for these overrides; the sweep's own files
            are not read again.

    Raises:
        ConfigError: no sweep, or more than one, begins so; an override would change a
            trial; or a config does not have the hash any more that it was recorded under.
    """
    here = request(overrides, config_dir).launch
    require_record(Path(here.paths.output))
    with reading(ledger_path(here)) as ledger:
        entry = only(ledger.sweeps_like(prefix), prefix)
    command = entry.spec["command"]
    if "launch" not in entry.spec:
        raise ConfigError(f"sweep {entry.sweep} was recorded without its launch: `{command}` again")
    trials = [PlannedTrial(**trial) for trial in entry.spec.get("cells") or entry.spec["trials"]]
    for trial in trials:
        if config_hash(trial_from_plain(trial.plain)) != trial.config_hash:
            raise ConfigError(
                f"trial {trial.name} of sweep {entry.sweep} has another hash in this version "
                f"of sweeps: `{command}` launches it as a new sweep"
            )
    launch = launch_from_plain(entry.spec["launch"], overrides, config_dir)
    return Stored(launch, trials, command, entry.spec.get("sources", {}))
