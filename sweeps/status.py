"""How sweeps stand, live or afterwards: from the ledger, and the pulse of a driver at work."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from sweeps.config import LaunchConfig
from sweeps.known import Known, known_of, planned_of, search_of, table_of
from sweeps.ledger import Ledger, SweepEntry, reading
from sweeps.output_root import folder_of, has_record, ledger_path, only
from sweeps.planning import PlannedTrial
from sweeps.pulse import Beat, last_beat
from sweeps.search.findings import findings
from sweeps.terminal import Terminal


@dataclass(frozen=True)
class TrialStatus:
    """One trial: its ending, or `failed`, `running` or `left`; a word on why or how far."""

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


def statuses(config: LaunchConfig, prefix: str = "") -> list[SweepStatus]:
    """Every sweep under the output root, or the one that begins so, the latest first.

    Raises:
        ConfigError: nothing was ever launched there, or no sweep or several begin so.
    """
    has_record(Path(config.paths.output))
    with reading(ledger_path(config)) as ledger:
        found = ledger.sweeps_like(prefix)
        if prefix:
            sweep = only(found, prefix).sweep
            found = [entry for entry in found if entry.sweep == sweep]
        return [_status(entry, ledger) for entry in reversed(found)]


def _status(entry: SweepEntry, ledger: Ledger) -> SweepStatus:
    planned = planned_of(entry)
    known = known_of(planned, ledger, sweep=entry.sweep)
    beat = last_beat(folder_of(ledger.path.parent, entry.sweep))
    if entry.status != "RUNNING":
        beat = None
    reused = set(entry.spec["reused"])
    trials = [_trial(trial, known, beat, reused) for trial in planned]
    kinds = ["reused" if t.config_hash in reused else _kind(t.state) for t in trials]
    found = findings(search_of(entry), table_of(planned, reused, known))
    owed = [(o.study, o.sweep) for o in ledger.owed(entry.tracker)]
    return SweepStatus(
        sweep=entry.sweep,
        study=entry.study,
        state=_state(entry, beat),
        started=_iso(entry.spec.get("started")),
        command=entry.spec["command"],
        tracker=entry.tracker,
        mlflow=entry.status if entry.published else "RUNNING",
        unsent=owed.count((entry.study, entry.sweep)),
        trials=trials,
        found=found.plain if found else [],
        **{kind: kinds.count(kind) for kind in ("done", "reused", "failed", "running", "left")},
    )


def _kind(state: str) -> str:
    """What a trial that was not reused counts as; any ending is one."""
    return state if state in ("failed", "running", "left") else "done"


def _state(entry: SweepEntry, beat: Beat | None) -> str:
    if entry.status == "RUNNING":
        return "running" if beat else "interrupted"
    return {"FINISHED": "finished", "FAILED": "failed"}.get(entry.status, "interrupted")


def _trial(planned: PlannedTrial, known: Known, beat: Beat | None, reused: set[str]) -> TrialStatus:
    digest = planned.config_hash
    state, note = "left", ""
    if digest in known.results:
        state = known.results[digest].status
    elif digest in reused:
        state, note = "reused", "recorded by another machine"
    elif beat and digest in beat.running:
        step, steps = beat.running[digest]
        state, note = "running", f"step {step}/{steps}"
        if digest in beat.silent:
            note += f", nothing heard for {beat.silent[digest]} s"
    elif digest in known.failures:
        state, note = "failed", known.failures[digest].error
    return TrialStatus(planned.name, digest, state, note)


def _iso(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().isoformat(timespec="seconds")


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


def to_json(found: list[SweepStatus]) -> str:
    """The same for a script: a list of sweeps."""
    return json.dumps([asdict(status) for status in found], indent=2)
