"""Requests that a running sweep, or trials of it, end; from any machine with the output root."""

from collections.abc import Sequence
from pathlib import Path

from sweeps.config.launch import LaunchConfig
from sweeps.driver.heartbeat import last_heartbeat
from sweeps.driver.starting import starting_sweeps
from sweeps.driver.trial_states import load_states, planned_of, single_sweep
from sweeps.errors import ConfigError
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.disk_errors import explained_errors
from sweeps.storage.ledger import Ledger, SweepEntry, reading
from sweeps.storage.output_root import folder_of, ledger_path, require_record
from sweeps.storage.prefixes import check_prefix
from sweeps.storage.stop_requests import SWEEP, StopRequest, StopRequests, current_user


def request_stop(config: LaunchConfig, prefix: str, hashes: Sequence[str]) -> list[str]:
    """Request that a sweep, or some trials of it, end.

    Args:
        config: says where the output root is.
        prefix: the first digits of the sweep's name.
        hashes: the first digits of the trials' hashes; none: the whole sweep ends.

    Returns:
        A sentence on each request.

    Raises:
        ConfigError: the sweep does not run, or a hash is not of one of its unfinished
            trials; nothing was requested.
    """
    output = Path(config.paths.output)
    require_record(output)
    with reading(ledger_path(config)) as ledger:
        entries = ledger.sweeps_like(prefix) + starting_sweeps(output, prefix)
        entry = single_sweep(entries, prefix)
        folder = folder_of(output, entry.sweep)
        driver = _driver_of(folder, entry)
        trials = _unfinished_trials(entry, ledger, hashes)
    requests, stop = StopRequests.of(folder), StopRequest(current_user())
    before = requests.read()
    for trial in trials:
        if trial.config_hash in before:
            raise ConfigError(
                f"{trial.name} ({trial.short_hash}) was asked to stop before: `sweeps status "
                f"{entry.sweep}` says whether it has ended"
            )
    with explained_errors(requests.folder):
        for name in [trial.config_hash for trial in trials] or [SWEEP]:
            requests.write(name, stop)
    if not hashes and not entry.run_id:
        return [f"Sweep {entry.sweep} ({driver}) ends before it trains anything."]
    if not hashes:
        resume = f"`sweeps resume {entry.sweep}` goes on from there"
        return [f"Sweep {entry.sweep} ({driver}) writes its checkpoints and ends; {resume}."]
    return [f"{trial.name} ends, with a checkpoint if it trains ({driver})." for trial in trials]


def _driver_of(folder: Path, entry: SweepEntry) -> str:
    """Return the process that works on a sweep, in words.

    Raises:
        ConfigError: no process does.
    """
    beat = last_heartbeat(folder) if entry.status == "RUNNING" else None
    if beat is None:
        raise ConfigError(
            f"sweep {entry.sweep} does not run: there is nothing to stop; `sweeps status "
            f"{entry.sweep}` says how it ended"
        )
    return f"process {beat.pid} on {beat.host}"


def _unfinished_trials(
    entry: SweepEntry, ledger: Ledger, hashes: Sequence[str]
) -> list[PlannedTrial]:
    """Return the trials of a sweep that have these prefixes of hashes.

    Raises:
        ConfigError: a prefix is of no trial or of several, or its trial has ended.
    """
    planned = planned_of(entry)
    ended = load_states(planned, ledger, sweep=entry.sweep).ended if hashes else set()
    trials = []
    for prefix in hashes:
        check_prefix(prefix)
        matching = [trial for trial in planned if trial.config_hash.startswith(prefix)]
        if len(matching) != 1:
            raise ConfigError(
                f"{prefix!r} names {len(matching)} trials of sweep {entry.sweep}: "
                f"`sweeps status {entry.sweep}` prints their hashes"
            )
        if matching[0].config_hash in ended:
            raise ConfigError(f"{matching[0].name} ({prefix}) has ended: there is nothing to stop")
        trials += matching
    return trials
