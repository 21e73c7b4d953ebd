"""How sweeps stand, live or afterwards: from the ledger, and the pulse of a driver at work."""

import json
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from sweeps.config.request import LaunchConfig
from sweeps.driver.heartbeat import Heartbeat, last_heartbeat
from sweeps.driver.terminal import Rows, Terminal
from sweeps.driver.trial_states import (
    TrialStates,
    load_states,
    only,
    outcomes_of,
    planned_of,
    search_of,
)
from sweeps.planning.outcomes import STOPPED_BY_PERSON
from sweeps.planning.plan import PlannedTrial
from sweeps.search.summary import summarize
from sweeps.storage.ledger import Ledger, SweepEntry, reading
from sweeps.storage.output_root import folder_of, ledger_path, require_record


@dataclass(frozen=True)
class TrialStatus:
    """One trial: its state, and a word on why or how far.

    The state is its ending, or `failed`, `running`, `left` or `stopped by a person`. One
    that a person stopped counts as left.
    """

    trial: str
    config_hash: str
    state: str
    note: str = ""


@dataclass(frozen=True)
class SweepStatus:
    """A sweep as it stands.

    Attributes:
        sweep, study: its names.
        state: running, finished, failed (some trial has no result) or interrupted.
        started: when it was last launched, ISO 8601; empty when not known.
        command: what launched it.
        tracker: which MLflow it is recorded in: `local`, or a server's address.
        mlflow: its run's status there: FINISHED, FAILED, KILLED; RUNNING until it is told.
        unsent: results that MLflow has not been sent.
        done, reused, failed, running, left: how many trials; they add up to all.
        trials: each of them.
        found: what its search found so far, row by row.
        progress: of a running one, its counts and the time left, in words.
        waits: of a running one, what it waits for; empty while trials train.
        stopped_by: the person who stopped it, or a trial of it, since it was last launched.
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
    """Every sweep under the output root, or the one that begins so, the latest first.

    Raises:
        ConfigError: nothing was ever launched there, or no sweep or several begin so.
    """
    require_record(Path(config.paths.output))
    with reading(ledger_path(config)) as ledger:
        found = ledger.sweeps_like(prefix)
        if prefix:
            sweep = only(found, prefix).sweep
            found = [entry for entry in found if entry.sweep == sweep]
        return [_status(entry, ledger) for entry in reversed(found)]


def _status(entry: SweepEntry, ledger: Ledger) -> SweepStatus:
    planned = planned_of(entry)
    known = load_states(planned, ledger, sweep=entry.sweep)
    beat = last_heartbeat(folder_of(ledger.path.parent, entry.sweep))
    if entry.status != "RUNNING":
        beat = None
    reused = set(entry.spec["reused"])
    trials = [_trial(trial, known, beat, reused, entry.sweep) for trial in planned]
    kinds = ["reused" if t.config_hash in reused else _kind(t.state) for t in trials]
    found = summarize(search_of(entry), outcomes_of(planned, reused, known))
    pending_items = [(o.study, o.sweep) for o in ledger.pending_items(entry.tracker)]
    return SweepStatus(
        sweep=entry.sweep,
        study=entry.study,
        state=_state(entry, beat),
        started=_iso(entry.spec.get("started")),
        command=entry.spec["command"],
        tracker=entry.tracker,
        mlflow=entry.status if entry.published else "RUNNING",
        unsent=pending_items.count((entry.study, entry.sweep)),
        trials=trials,
        found=found.plain if found else [],
        progress=beat.says if beat else "",
        waits=beat.waits if beat else "",
        stopped_by=entry.spec.get("stopped_by", ""),
        **{kind: kinds.count(kind) for kind in ("done", "reused", "failed", "running", "left")},
    )


def _kind(state: str) -> str:
    """Count a trial that was not reused as done, failed, running or left."""
    if state == STOPPED_BY_PERSON:
        return "left"
    return state if state in ("failed", "running", "left") else "done"


def _state(entry: SweepEntry, beat: Heartbeat | None) -> str:
    if entry.status == "RUNNING":
        return "running" if beat else "interrupted"
    return {"FINISHED": "finished", "FAILED": "failed"}.get(entry.status, "interrupted")


def _trial(
    planned: PlannedTrial, known: TrialStates, beat: Heartbeat | None, reused: set[str], sweep: str
) -> TrialStatus:
    digest = planned.config_hash
    state, note = "left", ""
    if digest in known.results:
        state = known.results[digest].status
    elif digest in reused:
        state, note = "reused", "recorded by another machine"
    elif beat and digest in beat.running:
        step, steps = beat.running[digest]
        state, note = "running", f"step {step}/{steps}"
        if digest in beat.stuck:
            note += f", no step for {beat.stuck[digest]} s; to stop it: "
            note += f"sweeps stop {sweep} {digest[:12]}"
    elif digest in known.failures:
        failure = known.failures[digest]
        state, note = STOPPED_BY_PERSON if failure.stopped else "failed", failure.error
    return TrialStatus(planned.name, digest, state, note)


def _iso(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().isoformat(timespec="seconds")


# Trials shown while a sweep is watched.
WATCHED = 20
COUNTS = ("done", "reused", "failed", "running", "left")


def show(found: list[SweepStatus], terminal: Terminal) -> None:
    """A line for each sweep; of a single one also its trials and what became of them."""
    header = ["sweep", "study", "state", "started", "MLflow", *COUNTS, "unsent"]
    rows = [
        [s.sweep, s.study, s.state, s.started, s.mlflow]
        + [str(getattr(s, name)) for name in (*COUNTS, "unsent")]
        for s in found
    ]
    terminal.table(header, rows, left=5)
    for s in found:
        terminal.say(f"{s.sweep}  {s.command}")
        for text in _now(s):
            terminal.say(f"{s.sweep}  {text}")
    if len(found) == 1:
        terminal.table(
            ["hash", "trial", "state", "note"],
            [[t.config_hash[:12], t.trial, t.state, t.note] for t in found[0].trials],
            left=4,
            rest="`--json` prints all",
        )
        if found[0].found:
            rows = [list(row.values()) for row in found[0].found]
            terminal.table(list(found[0].found[0]), rows)


def _now(s: SweepStatus) -> list[str]:
    """Describe what a sweep is doing, or who stopped it."""
    stopped = f"stopped by {s.stopped_by}" if s.stopped_by and s.state != "running" else ""
    return [text for text in (s.progress, s.waits, stopped) if text]


def watch(config: LaunchConfig, prefix: str, every: float, terminal: Terminal) -> None:
    """Show a sweep, the latest where none is named, until it no longer runs.

    Drawn anew on a terminal; elsewhere a line whenever its counts have changed.

    Args:
        config: names the output root.
        prefix: of the sweep's name; empty for the latest.
        every: seconds from one look to the next.
        terminal: where to show it.

    Raises:
        ConfigError: there is no such sweep.
    """
    found = statuses(config, prefix)[0]
    told = ""
    with terminal.picture(lambda: _watched(found)):
        while found.state == "running":
            counts = found.progress.partition(";")[0]
            if counts != told and not terminal.is_live:
                terminal.say(f"{found.sweep}  {'; '.join(_now(found))}")
            told = counts
            time.sleep(every)
            found = statuses(config, found.sweep)[0]
    show([found], terminal)


def _watched(s: SweepStatus) -> Rows:
    """The rows of a sweep that is watched: its counts, and the trials under way."""
    lines = [[f"Sweep {s.sweep} of study {s.study}: {s.state}"], *([text] for text in _now(s))]
    under_way = [t for t in s.trials if t.state == "running"]
    ended = [t for t in s.trials if t.state in ("failed", STOPPED_BY_PERSON)]
    shown = [*under_way, *ended][:WATCHED]
    return [*lines, *([f"  {t.config_hash[:12]}", t.trial, t.state, t.note] for t in shown)]


def to_json(found: list[SweepStatus]) -> str:
    """The same for a script: a list of sweeps."""
    return json.dumps([asdict(status) for status in found], indent=2)
