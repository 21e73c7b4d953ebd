"""Ray Tune: each pack is a Tune trial; its reports go through a queue to the driver."""

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
from ray.tune.trainable.function_trainable import wrap_function

from deq.linalg.hardware import gpu_count
from sweeps.config.launch import ClusterConfig
from sweeps.config.texts import one_line
from sweeps.execution import trial_thread
from sweeps.execution.abandoned import abandon
from sweeps.execution.batching import batched, with_figures
from sweeps.execution.events import Done, Failed, Message
from sweeps.execution.head_watch import HeadWatch, answers
from sweeps.execution.pack_training import notes
from sweeps.execution.ray_cluster import Code
from sweeps.execution.resources import needs
from sweeps.execution.retry import FailureCause, LostPack, Packs
from sweeps.execution.settings import WorkerSettings
from sweeps.execution.versions import local_versions, mismatch
from sweeps.execution.worker import train_on_worker
from sweeps.execution.worker_errors import parse_worker_error, times
from sweeps.storage.stop_requests import EVERY, SWEEP, Guard, StopRequests, Watchdog

# Seconds that Tune may take to end when it is interrupted.
GRACE = 30.0
# Seconds between two checks meanwhile that its cluster still answers.
PAUSE = 0.5

# Tune would pass the driver's AWS credentials to every trial, and Ray would write them into the
# nodes' logs. Nothing here is stored on AWS.
class_cache.ENV_VARS_TO_PROPAGATE = {
    name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")
}

WorkerEvent = Message | LostPack
Inbox = queue.Queue[WorkerEvent | None]  # None: Tune has ended


class Tune:
    """Trains packs on the Ray that this process is connected to."""

    def __init__(
        self, config: ClusterConfig, folder: Path, code: Code | None, settings: WorkerSettings
    ) -> None:
        """Prepare; nothing is trained yet.

        Args:
            config: resources of a trial.
            folder: folder for Tune's state.
            code: version of the code that was sent to the workers; None: they run this
                machine's files.
            settings: settings of the workers.
        """
        self._config, self._settings, self._code = config, settings, code
        self._folder, self._requests = folder.resolve(), settings.requests
        self._running: tuple[threading.Thread, Stop] | None = None

    def fit(self, packs: Packs, retries: int) -> Iterator[WorkerEvent]:
        """Train packs; yield the workers' messages as they come.

        Args:
            packs: what to train.
            retries: how often a pack gets a new worker after its worker died.
        """
        inbox: Inbox = queue.Queue()
        stop = Stop()
        thread = threading.Thread(target=self._fit, args=(packs, retries, inbox, stop), daemon=True)
        self._running = thread, stop
        thread.start()
        try:
            yield from map(self._with_code, self._events(inbox))
        finally:
            self.end()

    def end(self) -> None:
        """End training, if any, and wait for it unless the cluster is dead.

        An interruption may come while nobody pulls messages, so that `fit` is not closed in
        time. Call this before Ray is left: a Tune that loses its Ray ends the process.
        """
        if self._running is None:
            return
        thread, stop = self._running
        stop.asked.set()
        if not _ends(thread):
            abandon(thread)
        shutil.rmtree(self._folder / "tune", ignore_errors=True)
        self._running = None

    def _events(self, inbox: Inbox) -> Iterator[WorkerEvent]:
        """Yield what comes into the inbox, until Tune has ended or the sweep is to stop.

        Raises:
            ClusterLostError: the head of the cluster is lost.
        """
        checked, head = time.monotonic(), HeadWatch()
        while True:
            head.check()
            if self._requests and time.monotonic() - checked >= EVERY:
                checked = time.monotonic()
                if SWEEP in self._requests.read():
                    return
            with contextlib.suppress(queue.Empty):
                event = inbox.get(timeout=EVERY)
                if event is None:
                    return
                yield event

    def _with_code(self, event: WorkerEvent) -> WorkerEvent:
        """Add the code version to a result: the code sent to a worker has no git history."""
        if self._code is None or not isinstance(event, Done):
            return event
        environment = event.record.environment | {"code": self._code}
        return Done(dataclasses.replace(event.record, environment=environment), event.figure)

    def _fit(self, packs: Packs, retries: int, inbox: Inbox, stop: "Stop") -> None:
        """Run Tune to its end; called in a thread, so that the driver can pull messages."""
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # its errors come as messages
        trainable = tune.with_parameters(
            _trainable,
            packs=[{trial.config_hash: trial.plain for trial in pack} for pack in packs],
            versions=local_versions(),
            settings=self._settings,
        )
        try:
            tune.Tuner(
                tune.with_resources(_patient(trainable), needs(self._config)),
                param_space={"pack": tune.grid_search(list(range(len(packs))))},
                tune_config=tune.TuneConfig(reuse_actors=True),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=str(self._folder),
                    callbacks=[Listener(packs, retries, inbox, self._requests)],
                    stop=stop,
                    failure_config=tune.FailureConfig(max_failures=retries),
                    verbose=0,
                ),
            ).fit()
        except Exception as error:  # whatever it is, the driver must learn of it
            for trial in (trial for pack in packs for trial in pack):
                inbox.put(Failed(trial.config_hash, one_line(error), final=False))
        finally:
            inbox.put(None)


def _ends(thread: threading.Thread) -> bool:
    """Wait for Tune at most GRACE; return False as soon as it waits for a dead cluster.

    A signal to a whole job ends the driver and its cluster at once: the cluster may still answer
    at the first look.
    """
    deadline = time.monotonic() + GRACE
    while thread.is_alive() and time.monotonic() < deadline:
        thread.join(PAUSE)
        if not answers():
            return not thread.is_alive()
    return True


class Stop(tune.Stopper):  # type: ignore[misc]
    """Ends all trials at their next report once `asked` is set."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: no trial is ended for its result."""
        return False

    def stop_all(self) -> bool:
        """Return whether all trials are to end."""
        return self.asked.is_set()

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles stoppers into its snapshots, which are never restored."""
        return {}


class Listener(tune.Callback):  # type: ignore[misc]
    """Puts reports of workers, and packs whose worker died for good, into the inbox."""

    def __init__(
        self, packs: Packs, retries: int, inbox: Inbox, requests: StopRequests | None
    ) -> None:
        self._packs, self._retries, self._inbox = packs, retries, inbox
        self._requests = requests

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles callbacks into its snapshots, which are never restored."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """Put the messages of a report into the inbox."""
        messages = result.get("messages", [])
        for message in messages:
            self._inbox.put(message)
        messages.clear()  # Tune keeps every trial's last result: keep it small

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Put a note into the inbox: the pack's worker died, and the pack gets a new one."""
        pack, (how, _cause) = self._packs[trial.config["pack"]], _last_error(trial)
        hashes = [one.config_hash for one in pack]
        retry = f"retry {trial.num_failures} of {self._retries}"
        line = f"its worker died ({how}): it gets a new one, {retry}"
        if self._requests and self._requests.read().keys() & set(hashes):
            line = "it was to stop and hung within a step: its worker was ended"
        for note in notes(hashes, [line]):
            self._inbox.put(note)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Put a lost pack into the inbox: its worker died with every retry."""
        how, cause = _last_error(trial)
        reason = f"its worker died {times(self._retries + 1)}, at last: {how}"
        self._inbox.put(LostPack(self._packs[trial.config["pack"]], reason, cause))


def _last_error(trial: Any) -> tuple[str, FailureCause]:
    """Return a line on how the worker of a Tune trial died last, and the cause."""
    text = Path(trial.error_file).read_text() if trial.error_file else ""
    return parse_worker_error(text.rpartition("Failure # ")[2])


def _trainable(
    config: dict[str, Any],
    packs: list[dict[str, dict[str, Any]]],
    versions: dict[str, str],
    settings: WorkerSettings,
) -> None:
    """Train one pack on a worker, after a check of the worker's versions and GPU.

    Args:
        config: Tune's config of the trial: the pack's index.
        packs: plain trial configs by config hash, of all packs.
        versions: the driver's versions.
        settings: settings of the workers.
    """
    pack = packs[config["pack"]]
    wrong = mismatch(versions, local_versions())  # the node may have joined after the inspection
    if settings.device != "cpu" and not gpu_count():
        wrong = "torch sees no GPU, and its trials are given one: install a torch built for CUDA"
    if wrong:
        failed = [Failed(digest, f"this node's {wrong}", final=False) for digest in pack]
        tune.report({"messages": failed})
        return
    guard = Guard(settings.requests)
    messages = train_on_worker(list(pack.values()), settings, guard)
    # Closed at once when Tune interrupts it, so that it writes a checkpoint.
    with trial_thread.running(), Watchdog(guard, _end_process), contextlib.closing(messages):
        for report in batched(with_figures(messages)):
            if trial_thread.INTERRUPTED.is_set():
                return
            tune.report({"messages": report})


def _patient(trainable: Any) -> Any:
    """Return a trainable whose interruption waits for its thread, which writes a checkpoint.

    Tune's own does not wait: it ends the process, in the middle of a large checkpoint too.
    """

    class Patient(wrap_function(trainable)):  # type: ignore[misc]
        def cleanup(self) -> None:
            """Interrupt the trial's thread, and wait for its end."""
            trial_thread.INTERRUPTED.set()
            super().cleanup()
            trial_thread.ENDED.wait(GRACE)

    return Patient


def _end_process() -> None:
    """Kill this worker, whose trial hangs; Tune then sees that it died."""
    os.kill(os.getpid(), signal.SIGKILL)
