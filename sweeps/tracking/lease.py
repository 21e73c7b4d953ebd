"""A driver's lease on a sweep's run in MLflow: one that died without a word is found out.

Until when a driver is taken to be alive stands on the run as a tag, and the driver moves it
on while it works. Whoever else works in that experiment closes a run whose lease is over.
The clocks of machines that share a server must agree to well within a lease.
"""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sweeps.errors import TrackingError
from sweeps.tracking.trial_runs import search

# Seconds since the epoch until which the driver is taken to be alive, and its host.
UNTIL, HOST = "sweeps.lease", "sweeps.host"
# By whom a run was closed in the driver's stead.
CLOSED = "sweeps.closed"
# A lease is renewed when one part in so many of it has passed.
PARTS = 4


class Lease:
    """Kept by a driver, while its block lasts, on the run of the sweep it works on.

    A thread of its own: to ship one result may take longer than a lease.
    """

    def __init__(self, renew: Callable[[], None], seconds: float) -> None:
        """Renew so, in time, a lease of so many seconds that was taken just now."""
        self._renew, self._every = renew, seconds / PARTS
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(self._every):
            with contextlib.suppress(TrackingError):  # away: until then nobody else sees it either
                self._renew()


def tags(seconds: float) -> dict[str, str]:
    """Of a run whose driver, this process, is alive for so long."""
    return {UNTIL: str(math.ceil(time.time() + seconds)), HOST: socket.gethostname()}


def renew(client: Any, run: str, seconds: float) -> None:
    """Say that this driver is alive; a run that was closed in its stead is opened again."""
    for key, value in tags(seconds).items():
        client.set_tag(run, key, value)
    if clear_closed_tag(client, run):
        client.update_run(run, status="RUNNING")


def clear_closed_tag(client: Any, run: str) -> bool:
    """Whether a run had been closed in its driver's stead; it no longer says so."""
    closed = CLOSED in client.get_run(run).data.tags
    if closed:
        client.delete_tag(run, CLOSED)
    return closed


def close_expired_runs(client: Any, experiment: str) -> list[str]:
    """Close the runs of sweeps, and of their trials, whose driver's lease is over.

    Returns:
        What was closed and why, a sentence each.
    """
    said = []
    running = "attributes.status = 'RUNNING' and tags.`sweeps.kind` ="
    for run in list(search(client, experiment, f"{running} 'sweep'")):
        until = float(run.data.tags.get(UNTIL, "inf"))
        if until >= time.time():
            continue
        run_id, at = run.info.run_id, datetime.fromtimestamp(until, UTC)
        where = run.data.tags.get(HOST, "its host")
        why = f"its driver on {where} was not heard of since {at:%Y-%m-%d %H:%M:%S} UTC"
        own = f"{running} 'trial' and tags.`mlflow.parentRunId` = '{run_id}'"
        for trial in list(search(client, experiment, own)):
            client.set_terminated(trial.info.run_id, "KILLED")
        client.set_tag(run_id, CLOSED, f"{why}; closed by {socket.gethostname()}")
        client.set_terminated(run_id, "KILLED")
        said.append(f"sweep {run.data.tags.get('sweeps.sweep')}: {why}; its run is closed")
    return said
