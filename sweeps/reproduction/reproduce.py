"""Trials again from their hashes: the same config, the same conditions, every step compared."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import deq
from sweeps.config.nested import flatten
from sweeps.errors import ConfigError
from sweeps.execution.environment import environment
from sweeps.execution.events import Done, Failed
from sweeps.execution.worker import run_pack
from sweeps.reproduction.checkout import Checkout, checkout, packages, source
from sweeps.storage.record import Record

Drift = dict[str, tuple[Any, Any]]


class Runtime(Protocol):
    """Code and packages that a trial can be trained with."""

    @property
    def environment(self) -> dict[str, Any]:
        """Versions and hardware there."""
        ...

    def again(self, record: Record) -> Record:
        """Train the record's trial there, with its count of threads."""
        ...


class ThisProcess:
    """This very process; for a sentence it needs no name."""

    def __str__(self) -> str:
        """Nothing to say."""
        return ""

    @property
    def environment(self) -> dict[str, Any]:
        """Versions and hardware here."""
        return environment()

    def again(self, record: Record) -> Record:
        """Train the record's trial anew.

        Raises:
            ConfigError: it raised.
        """
        threads = int(record.environment.get("threads", 1))
        short, device = record.config_hash[:12], record.device
        if device.startswith("cuda") and not deq.hardware()["gpu"]:
            raise ConfigError(f"{short} was trained on a GPU, and here is none")
        for message in run_pack([record.config], device, threads):
            if isinstance(message, Done):
                return message.record
            if isinstance(message, Failed):
                raise ConfigError(f"{short} raised this time: {message.error}")
        raise AssertionError("a pack ends with a result or a failure")


@contextlib.contextmanager
def places(at: str, output: Path) -> Iterator[Callable[[Record], Runtime]]:
    """Where each record is to be trained again: here, or with the code that `at` names.

    Checkouts are made when they are first asked for, and are gone after the block.
    """
    with contextlib.ExitStack() as stack:
        made: dict[object, Runtime] = {}

        def place(record: Record) -> Runtime:
            if not at:
                return ThisProcess()
            found = source(record, at)
            key = (found, *sorted(packages(record).items()))
            if key not in made:
                made[key] = stack.enter_context(checkout(record, found, output))
            return made[key]

        yield place


def drift(record: Record, place: Runtime | None = None) -> Drift:
    """(then, now) of what decides a result's bits and has changed: versions, code, machine.

    The count of threads is not among it: a place takes that of the record. The code is not
    where a checkout was asked for: it is what `--at` says.
    """
    then = flatten(record.environment)
    now = flatten((place or ThisProcess()).environment)
    matters = [
        key
        for key in dict.fromkeys([*then, *now])
        if key.startswith(("packages.", "code.")) or key in ("python", "cpu_capability", "gpu")
    ]
    if isinstance(place, Checkout):
        ours = ("code.", "packages.deq-sweeps")
        matters = [key for key in matters if not key.startswith(ours)]
    return {
        key: (then.get(key, ""), now.get(key, ""))
        for key in matters
        if then.get(key, "") != now.get(key, "")
    }


def refuse_drift(record: Record, changed: Drift) -> None:
    """Refuse to reproduce under other conditions.

    Raises:
        ConfigError: naming every difference.
    """
    if changed:
        raise ConfigError(
            f"{record.config_hash[:12]} was made under other conditions: {told(changed)}: restore "
            "them (--at takes the recorded code and packages), or go on with --allow-drift"
        )


def told(changed: Drift) -> str:
    """What has changed, in words."""
    parts = []
    for key, (then, now) in changed.items():
        if key == "code.diff":
            parts.append("the uncommitted changes differ")
        else:
            parts.append(f"{key} was {_short(then)}, is {_short(now)}")
    return "; ".join(parts)


def _short(value: Any) -> str:
    return str(value)[:40] or "absent"
