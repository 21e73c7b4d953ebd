"""Notices that the head of the Ray cluster that this process is connected to is gone."""

import socket
import time

import ray

from sweeps.errors import ClusterLostError

# Seconds between two checks of the head.
CHECK_EVERY = 1.0
# Seconds without an answer after which the head counts as lost. After a minute Ray would end this
# process without a message.
LOST_AFTER = 25.0
# Number of refused connections in a row after which the head counts as lost: no process listens
# at its address. The head kept its state in that process, so a head that is started there again
# does not know this sweep, and Ray's client may crash on it.
REFUSALS = 2
# Seconds after which a connection attempt is given up.
CONNECT = 1.0


class HeadWatch:
    """Checks every CHECK_EVERY seconds that the head takes connections."""

    def __init__(self) -> None:
        self._checked = self._answered = time.monotonic()
        self._refusals = 0

    def check(self) -> None:
        """Check the head, if the last check is CHECK_EVERY seconds old.

        Raises:
            ClusterLostError: the head is lost.
        """
        now = time.monotonic()
        if now - self._checked < CHECK_EVERY:
            return
        self._checked = now
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
    """Return whether the head takes connections, at once; Ray would wait for a minute."""
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
