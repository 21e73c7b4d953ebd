"""Ray Tune: packs as its trials, reported through a queue that the driver pulls from."""

import contextlib
import dataclasses
import logging
import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.execution import class_cache

from deq.linalg.hardware import gpus
from sweeps.config.early_stopping import Stopping
from sweeps.config.nested import one_line
from sweeps.config.request import ClusterConfig
from sweeps.execution.batching import batched, with_figures
from sweeps.execution.events import Done, Failed, Message
from sweeps.execution.ray_cluster import Code, needs
from sweeps.execution.retry import FailureCause, LostPack, Packs
from sweeps.execution.versions import local_versions, mismatch
from sweeps.execution.worker import run_pack
from sweeps.planning.plan import PlannedTrial
from sweeps.redaction import without_secrets
from sweeps.storage.checkpoints import Checkpoints
from sweeps.storage.stop_requests import EVERY, SWEEP, Guard, StopRequests, Watchdog

# Seconds that Tune may take to end when it is interrupted.
GRACE = 30.0

# Tune would hand the driver's AWS credentials to every trial, and Ray write them into the
# nodes' logs. Nothing here stores anything there.
class_cache.ENV_VARS_TO_PROPAGATE = {
    name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")
}

WorkerEvent = Message | LostPack
Inbox = queue.Queue[WorkerEvent | None]


class Tune:
    """Trains packs on the Ray this process is connected to."""

    def __init__(
        self,
        config: ClusterConfig,
        device: str,
        folder: Path,
        code: Code | None,
        checkpoints: Checkpoints,
        stopping: Stopping | None = None,
        live_seconds: float = 0.0,
        requests: StopRequests | None = None,
        weights: Path | None = None,
    ) -> None:
        """Train on `device`, with Tune's state in `folder`; `code` was shipped there."""
        self._config, self._device, self._checkpoints = config, device, checkpoints
        self._stopping, self._live_seconds, self._requests = stopping, live_seconds, requests
        self._weights = weights
        self._folder, self._code = folder.resolve(), code
        self._running: tuple[threading.Thread, Stop] | None = None

    def fit(self, packs: Packs, retries: int) -> Iterator[WorkerEvent]:
        """Train the packs; yields what the workers say, as they say it.

        Args:
            packs: what to train.
            retries: how often a pack is given a new worker when its own has died.
        """
        inbox: Inbox = queue.Queue()
        stop = Stop()
        worker = threading.Thread(target=self._fit, args=(packs, retries, inbox, stop), daemon=True)
        self._running = worker, stop
        worker.start()
        try:
            yield from map(self._stamped, self._said(inbox))
        finally:
            self.end()

    def _said(self, inbox: Inbox) -> Iterator[WorkerEvent]:
        """Yield what comes into the inbox, until all has come or the sweep is asked to end."""
        looked = time.monotonic()
        while True:
            if self._requests and time.monotonic() - looked >= EVERY:
                looked = time.monotonic()
                if SWEEP in self._requests.read():
                    return
            with contextlib.suppress(queue.Empty):
                said = inbox.get(timeout=EVERY)
                if said is None:
                    return
                yield said

    def end(self) -> None:
        """End what still trains, and wait for it: Ray left under Tune ends the process.

        An interruption may come while the messages are not being pulled, and then nobody
        closes them in time: whoever leaves Ray calls this first.
        """
        if self._running is None:
            return
        worker, stop = self._running
        stop.asked.set()
        worker.join(GRACE)
        shutil.rmtree(self._folder / "tune", ignore_errors=True)
        self._running = None

    def _stamped(self, said: WorkerEvent) -> WorkerEvent:
        """Shipped code has no history on the worker: the driver knows its commit."""
        if self._code is None or not isinstance(said, Done):
            return said
        environment = said.record.environment | {"code": self._code}
        return Done(dataclasses.replace(said.record, environment=environment), said.figure)

    def _fit(self, packs: Packs, retries: int, inbox: Inbox, stop: "Stop") -> None:
        """Run Tune to its end; in a thread, so that the driver can pull."""
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # its errors come as messages
        shared = {
            "packs": [[trial.plain for trial in pack] for pack in packs],
            "hashes": [[trial.config_hash for trial in pack] for pack in packs],
            "device": self._device,
            "threads": self._config.cpus_per_trial,
            "versions": local_versions(),
            "checkpoints": self._checkpoints,
            "stopping": self._stopping,
            "live_seconds": self._live_seconds,
            "requests": self._requests,
            "weights": self._weights,
        }
        try:
            tune.Tuner(
                tune.with_resources(
                    tune.with_parameters(_trainable, **shared), needs(self._config)
                ),
                param_space={"pack": tune.grid_search(list(range(len(packs))))},
                tune_config=tune.TuneConfig(reuse_actors=True),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=str(self._folder),
                    callbacks=[Listener(packs, retries, inbox)],
                    stop=stop,
                    failure_config=tune.FailureConfig(max_failures=retries),
                    verbose=0,
                ),
            ).fit()
        except Exception as error:  # the driver must hear of it, whatever it is
            for planned in _all(packs):
                inbox.put(Failed(planned.config_hash, one_line(error), final=False))
        finally:
            inbox.put(None)


class Stop(tune.Stopper):  # type: ignore[misc]
    """Ends all trials at their next report, once it was asked to."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial is ended for what it reports."""
        return False

    def stop_all(self) -> bool:
        """Whether all are to end."""
        return self.asked.is_set()

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles stoppers into its snapshots; there is nothing here to restore."""
        return {}


class Listener(tune.Callback):  # type: ignore[misc]
    """Passes on what trials report, and the packs whose worker died for good."""

    def __init__(self, packs: Packs, retries: int, inbox: Inbox) -> None:
        self._packs, self._retries, self._inbox = packs, retries, inbox

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles callbacks into its snapshots; there is nothing here to restore."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """Pass on a report."""
        said = result.get("messages", [])
        for message in said:
            self._inbox.put(message)
        said.clear()  # Tune keeps every trial's last result: keep it small

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Pass on that a worker died, and every one that was given in its place."""
        text = Path(trial.error_file).read_text() if trial.error_file else ""
        how, cause = parse_worker_error(text.rpartition("Failure # ")[2])
        reason = f"its worker died {times(self._retries + 1)}, at last: {how}"
        self._inbox.put(LostPack(self._packs[trial.config["pack"]], reason, cause))


def times(count: int) -> str:
    """A count of deaths in words."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def parse_worker_error(text: str) -> tuple[str, FailureCause]:
    """What Ray's words on a worker's death say, in one line, and whose fault it was."""
    text = without_secrets(" ".join(text.split()))
    if "running low on memory" in text:
        return "Ray ended it, since its node was running out of memory", FailureCause.MEMORY
    if "node has died" in text or "node died" in text or "temporarily unavailable" in text:
        return "its node died or does not answer", FailureCause.NODE
    if "connection error code 2" in text:
        return (
            "its process was killed, or crashed, or the kernel ended it for memory",
            FailureCause.WORKER,
        )
    return text[-300:] or "Ray does not say how", FailureCause.WORKER


def _trainable(
    config: dict[str, Any],
    packs: list[list[dict[str, Any]]],
    hashes: list[list[str]],
    device: str,
    threads: int,
    versions: dict[str, str],
    checkpoints: Checkpoints,
    stopping: Stopping | None,
    live_seconds: float,
    requests: StopRequests | None,
    weights: Path | None,
) -> None:
    """Train one pack on a worker; a node that joined late is checked here."""
    wrong = mismatch(versions, local_versions())
    if device != "cpu" and not gpus():
        wrong = "torch sees no GPU, and its trials are given one: install a torch built for CUDA"
    if wrong:
        failed = [Failed(h, f"this node's {wrong}", final=False) for h in hashes[config["pack"]]]
        tune.report({"messages": failed})
        return
    guard = Guard(requests)
    # Closed at once when Tune interrupts it in a report, so that it writes a checkpoint.
    pack = packs[config["pack"]]
    options = (checkpoints, stopping, live_seconds, guard, weights)
    messages = run_pack(pack, device, threads, *options)
    with Watchdog(guard, _end_process), contextlib.closing(messages):
        for report in batched(with_figures(messages)):
            tune.report({"messages": report})


def _end_process() -> None:
    """End this worker, whose trial hangs: Tune sees it as one that was killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def _all(packs: Packs) -> Iterator[PlannedTrial]:
    for pack in packs:
        yield from pack
