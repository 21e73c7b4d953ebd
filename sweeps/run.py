"""A sweep from plan to record: train what is missing, ship what is owed, report."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from sweeps import launch, plots, report
from sweeps.config import LaunchConfig, Request
from sweeps.errors import ConfigError, TrackingError
from sweeps.ledger import Ledger, Owed
from sweeps.plan import Plan, plan
from sweeps.progress import View
from sweeps.report import Line
from sweeps.tracking import Point, Tracker, check_server
from sweeps.trial import Done, Failed

# Means over seeds of these are drawn on the sweep's own page, one point per cell.
CELL_METRICS = (
    "rate/measured",
    "rate/linearized",
    "rate/bound",
    "rate/measured_over_linearized",
    "rate/measured_over_bound",
    "theory/lambda_0_over_m",
    "theory/lambda_star",
)


@dataclass(frozen=True)
class Options:
    """How the command asked for it."""

    command: str
    force: bool = False


@dataclass(frozen=True)
class Finished:
    """A sweep that has been run to its end."""

    plan: Plan
    lines: list[Line]
    links: dict[str, str]
    unsent: int

    @property
    def failed(self) -> int:
        """How many trials have no result."""
        return sum(line.record is None for line in self.lines)


def dry_plan(request: Request) -> Plan:
    """The plan of a command, looking and not touching."""
    path = ledger_path(request.launch)
    if not path.exists():
        return plan(request, None)
    ledger = Ledger(path)
    try:
        return plan(request, ledger)
    finally:
        ledger.close()


def ledger_path(config: LaunchConfig) -> Path:
    """Where the ledger lies."""
    return Path(config.paths.output) / "ledger.db"


def run(request: Request, options: Options, console: Console) -> Finished:
    """Make the sweep complete.

    Raises:
        ConfigError: another sweep is being launched on the same output root.
        TrackingError: MLflow cannot be reached; nothing was started.
    """
    output = Path(request.launch.paths.output)
    check_server(request.launch.tracking)  # refused before anything is written
    output.mkdir(parents=True, exist_ok=True)
    with _alone(output):
        ledger = Ledger(ledger_path(request.launch))
        try:
            return _run(request, options, console, ledger)
        finally:
            ledger.close()


@contextlib.contextmanager
def _alone(output: Path) -> Iterator[None]:
    lock = FileLock(output / "driver.lock")
    try:
        with lock.acquire(timeout=0):
            yield
    except Timeout as error:
        raise ConfigError(
            f"another sweep is being launched on paths.output={output}: wait for it, "
            "or choose another paths.output"
        ) from error


def _run(request: Request, options: Options, console: Console, ledger: Ledger) -> Finished:
    planned = plan(request, None if options.force else ledger)
    if options.force:
        ledger.forget(trial.config_hash for trial in planned.trials)
    output = Path(request.launch.paths.output)
    tracker = Tracker(request.launch.tracking, output)
    experiment = tracker.experiment(planned.study)
    name = f"{planned.study} {planned.sweep}"
    parent = tracker.begin_sweep(experiment, planned.sweep, name, _spec(planned, options))
    for trial in planned.trials:
        owed = Owed(planned.study, trial.config_hash, planned.sweep, trial.name)
        ledger.owe(tracker.name, owed)
    status = "KILLED"
    links = tracker.links(experiment, parent)
    try:
        _announce(planned, console)
        errors = _train(
            request.launch,
            planned,
            ledger,
            console,
            lambda: _ship(tracker, ledger, experiment, parent),
        )
        status = "FAILED" if errors else "FINISHED"
    finally:
        unsent = _ship(tracker, ledger, experiment, parent)
        failures = ledger.failures(t.config_hash for t in planned.trials)
        lines = [
            Line(t, ledger.get(t.config_hash), failures.get(t.config_hash, ""))
            for t in planned.trials
        ]
        _close(tracker, parent, status, planned, options, lines)
    return Finished(planned, lines, links, unsent)


def _announce(planned: Plan, console: Console) -> None:
    total, left = len(planned.trials), len(planned.trials) - planned.reused
    trials = f"{total} trial{'s' if total > 1 else ''}"
    if left == 0:
        text = f"Sweep {planned.sweep}: nothing to do, all {trials} finished before."
    else:
        text = (
            f"Sweep {planned.sweep}: {trials}, {planned.reused} finished before, {left} to train."
        )
    console.print(text, highlight=False)


def _train(
    config: LaunchConfig, planned: Plan, ledger: Ledger, console: Console, ship: Callable[[], int]
) -> dict[str, str]:
    """Train the packs; the errors of the trials that failed."""
    errors: dict[str, str] = {}
    if not planned.packs:
        return errors
    folder = Path(config.paths.output) / "sweeps" / planned.sweep
    with View(planned, console) as view:
        for message in launch.messages(planned.packs, config.cluster, folder):
            if isinstance(message, Done):
                ledger.put(message.record)
                ship()
            elif isinstance(message, Failed):
                ledger.fail(message.config_hash, message.error)
                errors[message.config_hash] = message.error
            view.tell(message)
    return errors


def _ship(tracker: Tracker, ledger: Ledger, experiment: str, parent: str) -> int:
    """Send what is owed; how much could not be sent."""
    owed = ledger.owed(tracker.name)
    for i, item in enumerate(owed):
        record = ledger.get(item.config_hash)
        assert record is not None
        try:
            run_id = tracker.ship(experiment, parent, item.sweep, item.name, record)
        except TrackingError:
            return len(owed) - i
        ledger.shipped(tracker.name, item, run_id)
    return 0


def _spec(planned: Plan, options: Options) -> dict[str, object]:
    return {
        "sweep": planned.sweep,
        "study": planned.study,
        "command": options.command,
        "trials": {trial.name: trial.config_hash for trial in planned.trials},
    }


def _close(
    tracker: Tracker, parent: str, status: str, planned: Plan, options: Options, lines: list[Line]
) -> None:
    """Write the sweep's own page."""
    points = [
        Point("sweep/trials", float(len(lines)), 0),
        Point("sweep/failed", float(sum(line.record is None for line in lines)), 0),
        Point("sweep/reused", float(planned.reused), 0),
    ]
    for key in CELL_METRICS:
        for step, (_, mean, spread) in enumerate(report.cells(lines, key)):
            points.append(Point(f"cell_mean/{key}", mean, step))
            if spread is not None:
                points.append(Point(f"cell_std/{key}", spread, step))
    files: dict[str, str | bytes] = {"trials.csv": report.to_csv(lines)}
    records = [line.record for line in lines if line.record is not None]
    if records:
        files["rates.png"] = plots.sweep(records)
    text = report.describe(planned.sweep, options.command, lines)
    tracker.end_sweep(parent, status, text, points, files)
