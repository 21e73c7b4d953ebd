"""Provide the code that trains a recorded trial again, and compare its environment."""

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
from sweeps.reproduction.checkout import Checkout, RaisedError, checkout, packages, source
from sweeps.storage.record import Record

Drift = dict[str, tuple[Any, Any]]


class Runtime(Protocol):
    """Code and packages that can train a trial."""

    @property
    def environment(self) -> dict[str, Any]:
        """Its versions and hardware."""
        ...

    def rerun(self, record: Record) -> Record:
        """Train the record's trial with the recorded number of threads."""
        ...


class ThisProcess:
    """The code and packages of this process."""

    def __str__(self) -> str:
        """Empty: a message need not name this process."""
        return ""

    @property
    def environment(self) -> dict[str, Any]:
        """Versions and hardware of this process."""
        return environment()

    def rerun(self, record: Record) -> Record:
        """Train the record's trial again.

        Raises:
            RaisedError: the training raised.
            ConfigError: it needs a GPU that this machine lacks.
        """
        threads = int(record.environment.get("threads", 1))
        short, device = record.config_hash[:12], record.device
        if device.startswith("cuda") and not deq.hardware()["gpu"]:
            raise ConfigError(f"{short} was trained on a GPU, and this machine has none")
        for message in run_pack([record.config], device, threads):
            if isinstance(message, Done):
                return message.record
            if isinstance(message, Failed):
                raise RaisedError(f"{short} raised this time: {message.error}")
        raise AssertionError("a pack ends with a result or a failure")


@contextlib.contextmanager
def runtimes(at: str, output: Path) -> Iterator[Callable[[Record], Runtime]]:
    """Give a function that returns the runtime for a record.

    Checkouts are made on first use, shared by records with the same code and packages, and
    deleted at the end of the block.

    Args:
        at: value of `--at`; empty for this process.
        output: the output root, which holds the checkouts.
    """
    with contextlib.ExitStack() as stack:
        checkouts: dict[object, Runtime] = {}

        def runtime_for(record: Record) -> Runtime:
            if not at:
                return ThisProcess()
            code = source(record, at)
            key = (code, *sorted(packages(record).items()))
            if key not in checkouts:
                checkouts[key] = stack.enter_context(checkout(record, code, output))
            return checkouts[key]

        yield runtime_for


def drift(record: Record, runtime: Runtime | None = None) -> Drift:
    """Compare the recorded environment with a runtime's: versions, code and hardware.

    The number of threads is left out, since a runtime uses the recorded one. In a checkout
    the code is left out as well, since `--at` chose it.

    Returns:
        (recorded value, present value) of every key that differs.
    """
    then = flatten(record.environment)
    now = flatten((runtime or ThisProcess()).environment)
    keys = [
        key
        for key in dict.fromkeys([*then, *now])
        if key.startswith(("packages.", "code.")) or key in ("python", "cpu_capability", "gpu")
    ]
    if isinstance(runtime, Checkout):
        own_code = ("code.", "packages.deq-sweeps")
        keys = [key for key in keys if not key.startswith(own_code)]
    return {
        key: (then.get(key, ""), now.get(key, ""))
        for key in keys
        if then.get(key, "") != now.get(key, "")
    }


def refuse_drift(record: Record, changed: Drift) -> None:
    """Raise if the environment has changed.

    Raises:
        ConfigError: there is a difference; the message lists all.
    """
    if changed:
        raise ConfigError(
            f"{record.config_hash[:12]} was trained in another environment: "
            f"{describe_drift(changed)}: restore it (--at uses the recorded code and packages), "
            "or continue with --allow-drift"
        )


def describe_drift(changed: Drift) -> str:
    """The differences as text."""
    parts = []
    for key, (then, now) in changed.items():
        if key == "code.diff":
            parts.append("the uncommitted changes differ")
        else:
            parts.append(f"{key} was {_short(then)}, is {_short(now)}")
    return "; ".join(parts)


def _short(value: Any) -> str:
    return str(value)[:40] or "absent"
