"""Notices that the head of the Ray cluster that this process is connected to is gone."""

import socket
import time

import ray

from sweeps.errors import ClusterLostError

# Seconds between looks, and without an answer after which the head is lost. Ray would end this
# process without a word after a minute.
LOOK_EVERY, LOST_AFTER = 1.0, 25.0
# Refusals in a row after which it is lost: no process listens there, and the head's state was in
# its process. A head that is started again in its place knows nothing of this sweep, and Ray's
# client may crash on it.
REFUSALS = 2
# Seconds that a connection may take.
CONNECT = 1.0


class HeadWatch:
    """Looks at a head now and then."""

    def __init__(self) -> None:
        self._looked = self._answered = time.monotonic()
        self._refusals = 0

    def check(self) -> None:
        """Look at the head, if it is time to.

        Raises:
            ClusterLostError: the head is lost.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        try:
            _connect()
        except ConnectionRefusedError:
            self._refusals += 1
        except OSError:
            self._refusals = 0
        else:
            self._answered, self._refusals = now, 0
        if self._refusals >= REFUSALS:
            raise _lost("has ended")
        if now - self._answered >= LOST_AFTER:
            raise _lost(f"has not answered for {now - self._answered:.0f} s")


def answers() -> bool:
    """Return whether the head takes connections. Ray itself waits for a lost head for a minute."""
    try:
        _connect()
    except OSError:
        return False
    return True


def _connect() -> None:
    """Connect to the head once.

    Raises:
        OSError: it takes no connection.
    """
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), CONNECT).close()


def _lost(how: str) -> ClusterLostError:
    return ClusterLostError(
        f"Ray's head {how}; what is finished is recorded, and the same command goes on when the "
        "cluster is back"
    )
