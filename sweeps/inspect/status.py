"""State of sweeps, running or ended: from the ledger and the heartbeat of a running driver."""

import json
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from sweeps.config.launch import LaunchConfig
from sweeps.driver.heartbeat import Heartbeat, last_heartbeat
from sweeps.driver.interruption import checkpoint_steps, resume_note
from sweeps.driver.starting import starting_sweeps
from sweeps.driver.terminal import Rows, Terminal
from sweeps.driver.trial_states import (
    TrialStates,
    load_states,
    outcomes_of,
    planned_of,
    search_of,
    single_sweep,
)
from sweeps.planning.outcomes import STOPPED_BY_PERSON
from sweeps.planning.plan import PlannedTrial
from sweeps.search.registry import summarize
from sweeps.storage.ledger import Ledger, SweepEntry, reading
from sweeps.storage.output_root import folder_of, ledger_path, require_record

# States of a sweep that a driver works on.
UNDER_WAY = ("starting", "running")
COUNTS = ("done", "reused", "failed", "running", "left")
# Number of trials shown by `sweeps status --watch`.
MAX_WATCHED = 20


@dataclass(frozen=True)
class TrialStatus:
    """State of one trial.

    Attributes:
        trial, config_hash: its name and hash.
        state: how it ended, or `failed`, `running`, `left` or `stopped by a person`.
        note: the reason for the state, or the progress.
    """

    trial: str
    config_hash: str
    state: str
    note: str = ""


@dataclass(frozen=True)
class SweepStatus:
    """State of one sweep.

    Attributes:
        sweep, study: its name and its study's name.
        state: starting, running, finished, failed (some trial has no result) or interrupted.
        started: time of the last launch, ISO 8601; empty if unknown.
        command: the command that launched it.
        tracker: MLflow that records it: `local`, or a server's address.
        mlflow: status of its run there: FINISHED, FAILED, KILLED; RUNNING until its end is sent;
            empty while it is starting.
        unsent: number of results that MLflow has not received yet.
        done, reused, failed, running, left: numbers of trials; their sum is the total. A trial
            that a person stopped counts as left.
        trials: state of each trial.
        found: results of its search so far, row by row.
        progress: for a running sweep, its counts and the remaining time, as text.
        waits: for a running sweep, what it waits for; empty while trials train.
        stopped_by: the person who stopped it or one of its trials since the last launch.
    """

    sweep: str
    study: str
    state: str
    started: str
    command: str
    tracker: str
    mlflow: str
    unsent: int
    done: int
    reused: int
    failed: int
    running: int
    left: int
    trials: list[TrialStatus]
    found: list[dict[str, str]]
    progress: str = ""
    waits: str = ""
    stopped_by: str = ""


def statuses(config: LaunchConfig, prefix: str = "") -> list[SweepStatus]:
    """State of every sweep under the output root, the latest first.

    Args:
        config: launch config with the output root.
        prefix: first digits of a sweep's name, for that sweep only.

    Raises:
        ConfigError: nothing was launched there yet, or the prefix names no sweep or several.
    """
    require_record(Path(config.paths.output))
    with reading(ledger_path(config)) as ledger:
        starting = starting_sweeps(ledger.path.parent, prefix)
        names = {(entry.study, entry.sweep) for entry in starting}
        before = ledger.sweeps_like(prefix)
        entries = [entry for entry in before if (entry.study, entry.sweep) not in names] + starting
        if prefix:
            sweep = single_sweep(entries, prefix).sweep
            entries = [entry for entry in entries if entry.sweep == sweep]
        return [_status(entry, ledger) for entry in reversed(entries)]


def _status(entry: SweepEntry, ledger: Ledger) -> SweepStatus:
    planned = planned_of(entry)
    states = load_states(planned, ledger, sweep=entry.sweep)
    heartbeat = last_heartbeat(folder_of(ledger.path.parent, entry.sweep))
    if entry.status != "RUNNING":
        heartbeat = None
    reused = set(entry.spec["reused"])
    trials = [_trial(trial, states, heartbeat, reused, entry.sweep) for trial in planned]
    if _state(entry, heartbeat) == "interrupted":
        trials = _with_checkpoints(trials, checkpoint_steps(entry, ledger.path.parent))
    counted_as = ["reused" if t.config_hash in reused else _count_as(t.state) for t in trials]
    starting = _state(entry, heartbeat) == "starting"
    search_results = None
    if not starting:  # whose trials have no configs yet
        search_results = summarize(search_of(entry), outcomes_of(planned, reused, states))
    pending_items = [(o.study, o.sweep) for o in ledger.pending_items(entry.tracker)]
    return SweepStatus(
        sweep=entry.sweep,
        study=entry.study,
        state=_state(entry, heartbeat),
        started=_iso(entry.spec.get("started")),
        command=entry.spec["command"],
        tracker=entry.tracker,
        mlflow=entry.status if entry.published else "RUNNING" * (not starting),
        unsent=pending_items.count((entry.study, entry.sweep)),
        trials=trials,
        found=search_results.plain if search_results else [],
        progress=heartbeat.summary if heartbeat and not starting else "",
        waits=heartbeat.waiting_for if heartbeat else "",
        stopped_by=entry.spec.get("stopped_by", ""),
        **{name: counted_as.count(name) for name in COUNTS},
    )


def _count_as(state: str) -> str:
    """The count that a trial with this state belongs to, if it was not reused."""
    if state == STOPPED_BY_PERSON:
        return "left"
    return state if state in ("failed", "running", "left") else "done"


def _state(entry: SweepEntry, heartbeat: Heartbeat | None) -> str:
    """State of a sweep; a sweep that is RUNNING without a heartbeat was interrupted."""
    if entry.status == "RUNNING":
        if heartbeat is None:
            return "interrupted"
        return "running" if entry.run_id else "starting"
    return {"FINISHED": "finished", "FAILED": "failed"}.get(entry.status, "interrupted")


def _trial(
    planned: PlannedTrial,
    states: TrialStates,
    heartbeat: Heartbeat | None,
    reused: set[str],
    sweep: str,
) -> TrialStatus:
    """State of one trial, from the ledger and the heartbeat."""
    digest = planned.config_hash
    state, note = "left", ""
    if digest in states.results:
        state = states.results[digest].status
    elif digest in reused:
        state, note = "reused", "recorded by another machine"
    elif heartbeat and digest in heartbeat.running:
        step, steps = heartbeat.running[digest]
        state, note = "running", f"step {step}/{steps}"
        if digest in heartbeat.stuck:
            note += f", no step for {heartbeat.stuck[digest]} s; to stop it: "
            note += f"sweeps stop {sweep} {digest[:12]}"
    elif digest in states.failures:
        failure = states.failures[digest]
        state, note = STOPPED_BY_PERSON if failure.stopped else "failed", failure.error
    return TrialStatus(planned.name, digest, state, note)


def _with_checkpoints(trials: list[TrialStatus], steps: dict[str, int]) -> list[TrialStatus]:
    """Add to the note of each trial that resume continues whether it has a checkpoint."""

    def noted(trial: TrialStatus) -> TrialStatus:
        if _count_as(trial.state) != "left":
            return trial
        note = resume_note(steps.get(trial.config_hash))
        # The checkpoint's step is the one it was stopped at: once will do.
        reason = trial.note.partition(" at step ")[0]
        return replace(trial, note="; ".join(filter(None, [reason, note])))

    return [noted(trial) for trial in trials]


def _iso(milliseconds: int | None) -> str:
    """Local time in ISO 8601, from milliseconds since the epoch; empty for None."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().isoformat(timespec="seconds")


def show(sweeps: list[SweepStatus], terminal: Terminal) -> None:
    """Print one line for each sweep; for a single sweep also its trials and its search."""
    if not sweeps:
        terminal.say("No sweep is recorded here yet.")
        return
    header = ["sweep", "study", "state", "started", "MLflow", *COUNTS, "unsent"]
    rows = [
        [s.sweep, s.study, s.state, s.started, s.mlflow]
        + [str(getattr(s, name)) for name in (*COUNTS, "unsent")]
        for s in sweeps
    ]
    terminal.table(header, rows, left=5, drop=("started", "MLflow", "study"))
    for s in sweeps:
        terminal.say(f"{s.sweep}  {s.command}")
        for text in _activity(s):
            terminal.say(f"{s.sweep}  {text}")
    if len(sweeps) == 1:
        (sweep,) = sweeps
        terminal.table(
            ["hash", "trial", "state", "note"],
            [[t.config_hash[:12], t.trial, t.state, t.note] for t in sweep.trials],
            left=4,
            rest="`--json` prints all",
        )
        if sweep.found:
            terminal.table(list(sweep.found[0]), [list(row.values()) for row in sweep.found])


def _activity(s: SweepStatus) -> list[str]:
    """Progress of a running sweep, or the person who stopped it."""
    stopped = f"stopped by {s.stopped_by}" if s.stopped_by and s.state not in UNDER_WAY else ""
    return [text for text in (s.progress, s.waits, stopped) if text]


def watch(config: LaunchConfig, prefix: str, every: float, terminal: Terminal) -> None:
    """Show a sweep until it no longer runs.

    A terminal is redrawn; any other output gets a line when the counts have changed.

    Args:
        config: launch config with the output root.
        prefix: first digits of the sweep's name; empty for the latest sweep.
        every: seconds between two updates.
        terminal: the output.

    Raises:
        ConfigError: there is no such sweep.
    """
    sweep = statuses(config, prefix)[0]
    shown = ""
    with terminal.live_rows(lambda: _live_rows(sweep)):
        while sweep.state in UNDER_WAY:
            counts = sweep.progress.partition(";")[0]
            if counts != shown and not terminal.is_live:
                terminal.say(f"{sweep.sweep}  {'; '.join(_activity(sweep))}")
            shown = counts
            time.sleep(every)
            sweep = statuses(config, sweep.sweep)[0]
    show([sweep], terminal)


def _live_rows(s: SweepStatus) -> Rows:
    """Rows for `--watch`: counts, then the trials that run, failed or were stopped."""
    lines = [[f"Sweep {s.sweep} of study {s.study}: {s.state}"], *([text] for text in _activity(s))]
    running = [t for t in s.trials if t.state == "running"]
    ended = [t for t in s.trials if t.state in ("failed", STOPPED_BY_PERSON)]
    shown = [*running, *ended][:MAX_WATCHED]
    return [*lines, *([f"  {t.config_hash[:12]}", t.trial, t.state, t.note] for t in shown)]


def to_json(sweeps: list[SweepStatus]) -> str:
    """The sweeps as JSON."""
    return json.dumps([asdict(sweep) for sweep in sweeps], indent=2)
