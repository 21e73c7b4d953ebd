"""Options of a launch, and its result."""

import os
import shlex
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sweeps.config.launch import TrackingConfig
from sweeps.driver.sync import PendingItems
from sweeps.planning.outcomes import STOPPED_BY_PERSON, TrialOutcome
from sweeps.planning.plan import Plan


@dataclass(frozen=True)
class Options:
    """Options of the command that launches a sweep.

    Attributes:
        command: the command as the user typed it.
        sources: text of the user's config files that it was composed from, by file name.
        force: train finished trials again.
        retry_failed: train trials again that raised an error before.
    """

    command: str
    sources: dict[str, str] = field(default_factory=dict)
    force: bool = False
    retry_failed: bool = False


@dataclass(frozen=True)
class Finished:
    """Result of a launch.

    Attributes:
        plan: the last plan of the sweep.
        trained: number of trials that this launch trained.
        lines: outcome of each trial.
        links: addresses of the sweep's pages in MLflow.
        unsent: number of this study's results that MLflow has not taken yet.
        waits: results and pages of this study that MLflow has not taken; false when it has all.
    """

    plan: Plan
    trained: int
    lines: list[TrialOutcome]
    links: dict[str, str]
    unsent: int
    waits: PendingItems = field(default_factory=PendingItems)

    @property
    def failed(self) -> int:
        """Number of trials that have no result and were not stopped by a person."""
        return sum(not outcome.finished for outcome in self.lines) - self.stopped

    @property
    def stopped(self) -> int:
        """Number of trials that a person stopped."""
        return sum(outcome.status == STOPPED_BY_PERSON for outcome in self.lines)


def ui_command(tracking: TrackingConfig, output: str) -> str:
    """Return the command that serves MLflow's UI of an output root; empty where a server does."""
    if tracking.name != "local":
        return ""
    # As a variable any path is valid; `paths.output=` would need Hydra's quoting.
    default = output == "outputs" and not os.environ.get("SWEEPS_OUTPUT")
    address = urlsplit(tracking.public_url)
    here = address.hostname in ("127.0.0.1", "localhost") and address.port
    port = f" --port {address.port}" if here else ""
    return f"{'' if default else f'SWEEPS_OUTPUT={shlex.quote(output)} '}sweeps ui{port}"


def final_status(outcomes: list[TrialOutcome]) -> str:
    """Return the final status of a sweep: FINISHED, FAILED, or KILLED if a person stopped it."""
    if all(outcome.finished for outcome in outcomes):
        return "FINISHED"
    unfinished = [outcome for outcome in outcomes if not outcome.finished]
    stopped = all(outcome.status == STOPPED_BY_PERSON for outcome in unfinished)
    return "KILLED" if stopped else "FAILED"
