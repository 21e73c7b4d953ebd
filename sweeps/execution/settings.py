"""Settings of a sweep's workers, the same for all of its packs."""

from dataclasses import dataclass
from pathlib import Path

from sweeps.config.early_stopping import Stopping
from sweeps.config.launch import ClusterConfig
from sweeps.storage.checkpoints import Checkpoints
from sweeps.storage.stop_requests import StopRequests


@dataclass(frozen=True)
class WorkerSettings:
    """Settings of a sweep's workers; they are sent to each worker.

    Attributes:
        device: "cpu" or "cuda".
        threads: number of CPU threads of torch.
        checkpoints: where packs write checkpoints; None: they write none.
        stopping: the early-stopping rule; None: no trial is stopped early.
        live_seconds: seconds between two reports of a trial's new points; 0: none.
        requests: requests to stop the sweep or trials of it; None: nobody can ask.
        weights: folder for the trials' weights, on storage of all nodes; None: not kept.
    """

    device: str
    threads: int
    checkpoints: Checkpoints | None = None
    stopping: Stopping | None = None
    live_seconds: float = 0.0
    requests: StopRequests | None = None
    weights: Path | None = None

    @classmethod
    def of(
        cls,
        cluster: ClusterConfig,
        checkpoints: Checkpoints,
        *,
        live_seconds: float,
        requests: StopRequests,
        weights: Path | None,
    ) -> "WorkerSettings":
        """Return the settings for a cluster config; `stopping` is set when the workers start.

        Args:
            cluster: resources of a trial.
            checkpoints: where packs write checkpoints.
            live_seconds: see `WorkerSettings`.
            requests: requests to stop.
            weights: see `WorkerSettings`.
        """
        return cls(
            device="cuda" if cluster.gpus_per_trial > 0 else "cpu",
            threads=cluster.cpus_per_trial,
            checkpoints=checkpoints,
            live_seconds=live_seconds,
            requests=requests,
            weights=weights,
        )
