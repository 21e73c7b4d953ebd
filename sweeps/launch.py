"""The door to Ray: packs in, messages out, from workers or from this very process."""

import gc
import logging
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before ray is imported: no usage reports, no banners, none of Tune's own loggers.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")

import ray
from ray import tune

from sweeps.config import ClusterConfig
from sweeps.plan import PlannedTrial
from sweeps.trial import Failed, Message, run_pack

Packs = list[list[PlannedTrial]]


def messages(packs: Packs, cluster: ClusterConfig, folder: Path) -> Iterator[Message]:
    """Train the packs; yields what the workers say, as they say it.

    Args:
        packs: what to train.
        cluster: where.
        folder: where Tune keeps its state.
    """
    device = "cuda" if cluster.gpus_per_trial > 0 else "cpu"
    if cluster.name == "inline":
        for pack in packs:
            plains = [trial.plain for trial in pack]
            yield from run_pack(plains, device, cluster.cpus_per_trial)
        return
    yield from _on_ray(packs, cluster, folder, device)


def _on_ray(packs: Packs, cluster: ClusterConfig, folder: Path, device: str) -> Iterator[Message]:
    # Ray's sockets need a short path, so its own files cannot lie under the output root.
    scratch = Path(tempfile.mkdtemp(prefix="sweeps-ray-"))
    inbox: queue.Queue[Message | None] = queue.Queue()
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=str(scratch),
        )
        worker = threading.Thread(
            target=_fit, args=(packs, cluster, folder, device, inbox), daemon=True
        )
        worker.start()
        while (message := inbox.get()) is not None:
            yield message
        worker.join()
    finally:
        # What Tune left of Ray's objects goes before Ray does: collected later, in any
        # thread, one of them would end the process.
        gc.collect()
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


class Inbox(tune.Callback):  # type: ignore[misc]
    """Passes on what trials report, and the packs whose worker died for good."""

    def __init__(self, packs: Packs, inbox: "queue.Queue[Message | None]") -> None:
        self._packs, self._inbox = packs, inbox

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
        """Pass on that a worker died for good."""
        for planned in self._packs[trial.config["pack"]]:
            self._inbox.put(Failed(planned.config_hash, "its worker died", final=False))


def _fit(
    packs: Packs,
    cluster: ClusterConfig,
    folder: Path,
    device: str,
    inbox: "queue.Queue[Message | None]",
) -> None:
    """Run Tune to its end; in a thread, so that the driver can pull."""
    plains = [[trial.plain for trial in pack] for pack in packs]
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    try:
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(
                    _trainable, packs=plains, device=device, threads=cluster.cpus_per_trial
                ),
                {"cpu": cluster.cpus_per_trial, "gpu": cluster.gpus_per_trial},
            ),
            param_space={"pack": tune.grid_search(list(range(len(packs))))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(folder.resolve()),
                callbacks=[Inbox(packs, inbox)],
                failure_config=tune.FailureConfig(max_failures=cluster.max_retries),
                verbose=0,
            ),
        ).fit()
    except Exception as error:  # the driver must hear of it, whatever it is
        for pack in packs:
            for planned in pack:
                inbox.put(Failed(planned.config_hash, str(error), final=False))
    finally:
        inbox.put(None)


def _trainable(
    config: dict[str, Any], packs: list[list[dict[str, Any]]], device: str, threads: int
) -> None:
    for message in run_pack(packs[config["pack"]], device, threads):
        tune.report({"messages": [message]})
