"""A sweep that is starting: status shows it and stop ends it before MLflow is open.

A file in the sweep's folder describes it until it is in the ledger, where it gets a page in
MLflow. Beside the file is the driver's heartbeat.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sweeps.config.launch import LaunchConfig
from sweeps.config.request import launch_to_plain
from sweeps.driver.heartbeat import HeartbeatWriter, last_heartbeat
from sweeps.driver.launch_result import Options
from sweeps.driver.live_view import LiveView
from sweeps.driver.terminal import Terminal
from sweeps.planning.plan import Plan
from sweeps.storage.output_root import folder_of
from sweeps.storage.record import now
from sweeps.storage.stop_requests import StopRequests
from sweeps.storage.sweep_table import SweepEntry
from sweeps.storage.whole_files import write_json

NAME = "starting.json"


class StartingSweep:
    """A sweep from the moment its plan is known.

    Attributes:
        requests: requests to stop it or some of its trials.
        view: shows it to the user.
        announced: the announcement that was printed.
    """

    def __init__(
        self, launched: LaunchConfig, options: Options, terminal: Terminal, sweep: str
    ) -> None:
        """Prepare; nothing is written yet.

        Args:
            launched: how to search, train and record.
            options: options of the command.
            terminal: where to print.
            sweep: the sweep's name.
        """
        self._launched, self._options, self._terminal = launched, options, terminal
        self._folder = folder_of(Path(launched.paths.output), sweep)
        self.requests = StopRequests.of(self._folder, launched.cluster.trial_timeout)
        self.view = LiveView(terminal, sweep)
        self.announced = ""

    @contextlib.contextmanager
    def shown(self, planned: Plan, tracker: str) -> Iterator[None]:
        """Let other commands see and stop the sweep while the block runs.

        Args:
            planned: its first plan.
            tracker: name of the MLflow that will record it.
        """
        self.requests.clear()  # of an earlier launch
        self._folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # a full disk must not end the sweep
            entry = asdict(SweepEntry(planned.study, planned.sweep, {}, "", "", "RUNNING", tracker))
            write_json(self._folder / NAME, entry | {"spec": self._spec(planned)})
        try:
            with HeartbeatWriter(self._folder, self._terminal.progress, self.view.on_stuck):
                yield
        finally:
            self.registered()
            with contextlib.suppress(OSError):  # if nothing was started, nothing is left
                self._folder.rmdir()
                self._folder.parent.rmdir()

    def registered(self) -> None:
        """Remove the file: from now on the ledger describes the sweep."""
        with contextlib.suppress(OSError):
            (self._folder / NAME).unlink()

    def _spec(self, planned: Plan) -> dict[str, Any]:
        """Return the sweep's spec without what status and stop do not need."""
        return {
            "command": self._options.command,
            "launch": launch_to_plain(self._launched),
            "started": now(),
            "reused": sorted(planned.finished),
            "trials": [vars(replace(trial, plain={})) for trial in planned.trials],
        }


def starting_sweeps(output: Path, prefix: str = "") -> list[SweepEntry]:
    """Return the sweeps under an output root that are starting; their run in MLflow is "".

    Args:
        output: the output root.
        prefix: first digits of a sweep's name.
    """
    entries = []
    for file in sorted(folder_of(output, "").glob(f"*/{NAME}")):
        if file.parent.name.startswith(prefix) and last_heartbeat(file.parent):
            with contextlib.suppress(OSError, ValueError, TypeError):
                entries.append(SweepEntry(**json.loads(file.read_text())))
    return entries
