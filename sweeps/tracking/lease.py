"""A driver's lease on a sweep's run in MLflow, by which others notice that the driver died.

A tag of the run holds the time until which the driver counts as alive. The driver renews it
while it works. Other drivers and commands close a run whose lease has expired. The clocks of
machines that share a server must agree to well within a lease.
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
from sweeps.tracking.runs import search

# Tags: seconds since the epoch until which the driver counts as alive, and its host.
UNTIL, HOST = "sweeps.lease", "sweeps.host"
# Tag of a run that another machine closed: which one, and why.
CLOSED = "sweeps.closed"
# A lease is renewed after 1 / PARTS of its length.
PARTS = 4


class Lease:
    """Context manager that renews a driver's lease on a sweep's run while its block runs.

    It has its own thread, since sending one result may take longer than a lease.
    """

    def __init__(self, renew: Callable[[], None], seconds: float) -> None:
        """Prepare to renew a lease that was just taken.

        Args:
            renew: renews the lease.
            seconds: its length.
        """
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
            with contextlib.suppress(TrackingError):  # MLflow does not answer
                self._renew()


def tags(seconds: float) -> dict[str, str]:
    """Return the tags of a run whose driver, this process, takes a lease of this length."""
    return {UNTIL: str(math.ceil(time.time() + seconds)), HOST: socket.gethostname()}


def renew(client: Any, run: str, seconds: float) -> None:
    """Renew this driver's lease; a run that others have closed meanwhile is opened again.

    Args:
        client: MLflow's client.
        run: id of the sweep's page.
        seconds: length of the lease.
    """
    for key, value in tags(seconds).items():
        client.set_tag(run, key, value)
    if clear_closed_tag(client, run):
        client.update_run(run, status="RUNNING")


def clear_closed_tag(client: Any, run: str) -> bool:
    """Delete the tag of a run that others have closed; return whether it was there."""
    closed = CLOSED in client.get_run(run).data.tags
    if closed:
        client.delete_tag(run, CLOSED)
    return closed


def close_expired_runs(client: Any, experiment: str) -> list[str]:
    """Close the runs of sweeps whose driver's lease has expired, and of their trials.

    Returns:
        A sentence on each sweep: what was closed and why.
    """
    sentences = []
    running = "attributes.status = 'RUNNING' and tags.`sweeps.kind` ="
    for run in list(search(client, experiment, f"{running} 'sweep'")):
        until = float(run.data.tags.get(UNTIL, "inf"))
        if until >= time.time():
            continue
        run_id, at = run.info.run_id, datetime.fromtimestamp(until, UTC)
        host = run.data.tags.get(HOST, "its host")
        why = f"its driver on {host} was not heard of since {at:%Y-%m-%d %H:%M:%S} UTC"
        children = f"{running} 'trial' and tags.`mlflow.parentRunId` = '{run_id}'"
        name = run.data.tags.get("sweeps.sweep")
        text = f"Interrupted: {why}. `sweeps status {name}` says from which step resume goes on."
        for trial in list(search(client, experiment, children)):
            client.set_tag(trial.info.run_id, "mlflow.note.content", text)
            client.set_terminated(trial.info.run_id, "KILLED")
        client.set_tag(run_id, CLOSED, f"{why}; closed by {socket.gethostname()}")
        client.set_terminated(run_id, "KILLED")
        sentences.append(f"sweep {name}: {why}; its run is closed")
    return sentences
