"""Ask a running sweep, or trials of it, to end; from any machine that shares the output root."""

from collections.abc import Sequence
from pathlib import Path

from sweeps.config.request import LaunchConfig
from sweeps.driver.heartbeat import last_heartbeat
from sweeps.driver.trial_states import load_states, only, planned_of
from sweeps.errors import ConfigError
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.disk_errors import explained_errors
from sweeps.storage.ledger import Ledger, SweepEntry, reading
from sweeps.storage.output_root import folder_of, ledger_path, require_record
from sweeps.storage.prefixes import check_prefix
from sweeps.storage.stop_requests import SWEEP, StopRequest, StopRequests, current_user


def stop(config: LaunchConfig, prefix: str, hashes: Sequence[str]) -> list[str]:
    """Ask for a sweep, or these trials of it, to end; what was asked, in sentences.

    Raises:
        ConfigError: the sweep does not run, or a hash is of no trial of it that is still to
            end; nothing was asked.
    """
    output = Path(config.paths.output)
    require_record(output)
    with reading(ledger_path(config)) as ledger:
        entry = only(ledger.sweeps_like(prefix), prefix)
        folder = folder_of(output, entry.sweep)
        where = _where(folder, entry)
        trials = _trials(entry, ledger, hashes)
    requests, asked = StopRequests.of(folder), StopRequest(current_user())
    names = [trial.config_hash for trial in trials] if hashes else [SWEEP]
    with explained_errors(requests.folder):
        for name in names:
            requests.write(name, asked)
    if not hashes:
        again = f"`sweeps resume {entry.sweep}` goes on from there"
        return [f"Sweep {entry.sweep} ({where}) writes its checkpoints and ends; {again}."]
    return [f"{trial.name} writes its checkpoint and ends ({where})." for trial in trials]


def _where(folder: Path, entry: SweepEntry) -> str:
    """The process that works on a sweep.

    Raises:
        ConfigError: none does.
    """
    beat = last_heartbeat(folder) if entry.status == "RUNNING" else None
    if beat is None:
        raise ConfigError(
            f"sweep {entry.sweep} does not run: there is nothing to stop; `sweeps status "
            f"{entry.sweep}` says how it ended"
        )
    return f"process {beat.pid} on {beat.host}"


def _trials(entry: SweepEntry, ledger: Ledger, hashes: Sequence[str]) -> list[PlannedTrial]:
    """The trials of a sweep whose hashes begin so.

    Raises:
        ConfigError: a hash is of none or several, or its trial has ended.
    """
    planned = planned_of(entry)
    known = load_states(planned, ledger, sweep=entry.sweep) if hashes else None
    found = []
    for prefix in hashes:
        check_prefix(prefix)
        alike = [trial for trial in planned if trial.config_hash.startswith(prefix)]
        if len(alike) != 1:
            raise ConfigError(
                f"{prefix!r} names {len(alike)} trials of sweep {entry.sweep}: "
                f"`sweeps status {entry.sweep}` prints their hashes"
            )
        if known and alike[0].config_hash in known.ended:
            raise ConfigError(f"{alike[0].name} ({prefix}) has ended: there is nothing to stop")
        found.append(alike[0])
    return found
