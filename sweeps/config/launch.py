"""Launch settings, which do not change a trial's numbers: cluster, tracking, search, paths."""

import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from sweeps.config.early_stopping import EarlyStoppingConfig, NoStoppingConfig
from sweeps.config.search import GridConfig, SearchConfig
from sweeps.redaction import without_secrets

# Longest name of a study, which is an experiment's name: the limit of MLflow's databases.
MOST_LETTERS = 200
# Smallest fraction of a GPU that Ray tells from none.
SMALLEST = 1e-4
# Figures that a report may begin with: the modules of sweeps/reports/figures that draw one.
Figure = Literal[
    "rates",
    "curves",
    "width_scaling",
    "activations",
    "stability",
    "convergence",
    "generalisation",
    "sigma_w",
    "output_scale",
    "conservation",
    "depth_width",
    "high_dimension",
    "single_index",
    "frontier",
    "best",
]


@dataclass(frozen=True)
class ClusterConfig:
    """Cluster on which trials run, and their resources; a pack gets those of one trial.

    Attributes:
        name: local, a Ray of its own on this machine; ray, an existing cluster; inline, the
            process of the command.
        address: HOST:PORT of an existing cluster's head.
        cpus_per_trial: CPUs of a trial, and number of threads that train on them.
        gpus_per_trial: GPUs of a trial: a fraction of one, or whole ones; a pack trains on the
            first.
        memory_gb_per_trial: GB (10^9 bytes) that a node reserves for the trial.
        resources: amounts of the cluster's custom resources that a trial takes, by name.
        max_retries: how often a pack whose worker died gets a new worker.
        trial_timeout: seconds that a trial, or a pack, may train; 0 for no limit. A trial that
            takes longer has failed; if it hangs within a step, its worker is killed.
        wait_seconds: how long a sweep waits for the first node of an existing cluster that has
            what a trial asks for; a cluster without any CPU is waited for 60 s at least.
    """

    name: Literal["local", "ray", "inline"] = "local"
    address: str = ""
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    memory_gb_per_trial: float = 0.0
    resources: dict[str, float] = field(default_factory=dict)
    max_retries: int = 2
    trial_timeout: float = 0.0
    wait_seconds: float = 0.0

    def __post_init__(self) -> None:
        """Validate resources and address."""
        if self.address and self.name != "ray":
            raise ValueError("address is an existing cluster's: give cluster=ray too")
        if self.cpus_per_trial < 1:
            raise ValueError(f"cpus_per_trial must be at least 1, not {self.cpus_per_trial}")
        if min(self.gpus_per_trial, self.memory_gb_per_trial, self.max_retries) < 0:
            raise ValueError(
                "gpus_per_trial, memory_gb_per_trial and max_retries must be at least 0"
            )
        if 0 < self.gpus_per_trial < SMALLEST:
            raise ValueError(f"gpus_per_trial={self.gpus_per_trial:g}: at least {SMALLEST:g}, or 0")
        if not 0 <= self.trial_timeout < math.inf:
            raise ValueError(f"trial_timeout must be at least 0, not {self.trial_timeout:g}")
        if not 0 <= self.wait_seconds < math.inf:
            raise ValueError(f"wait_seconds must be at least 0, not {self.wait_seconds:g}")
        if self.wait_seconds and self.name != "ray":
            raise ValueError("wait_seconds is for an existing cluster: give cluster=ray too")
        if self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ValueError(f"gpus_per_trial={self.gpus_per_trial:g}: above 1, whole GPUs only")
        for name, amount in self.resources.items():
            if amount <= 0 or name in ("CPU", "GPU", "cpu", "gpu", "memory"):
                raise ValueError(
                    f"resources.{name}={amount:g}: give a positive amount of a resource of the "
                    "cluster's own; CPUs, GPUs and memory have keys of their own"
                )


@dataclass(frozen=True)
class TrackingConfig:
    """MLflow in which results are recorded.

    Attributes:
        name: MLflow embedded under the output root, or a server.
        uri: address of the MLflow server; MLFLOW_TRACKING_URI by default.
        public_url: MLflow's address in printed links, if a browser needs another one than the
            sweep, or `sweeps ui` has another port. Empty: tracking.uri, or port 5000 of this
            machine. With a server, MLFLOW_PUBLIC_URL by default.
        lease: seconds without a sign of life after which a driver counts as dead; commands
            that use the same experiment then close the run of its sweep.
        live_seconds: seconds between two updates of a trial's run while it trains; 0: the run
            is written when the trial has ended.
    """

    name: Literal["local", "server"] = "local"
    uri: str = ""
    public_url: str = ""
    lease: float = 120.0
    live_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Validate the address and the times."""
        if self.uri and self.name != "server":
            raise ValueError("uri is a server's: give tracking=server too")
        if self.public_url and not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", self.public_url):
            raise ValueError(
                f"public_url={without_secrets(self.public_url)} is no http(s) address: give "
                "http://HOST:PORT, or leave it empty"
            )
        if not 1 <= self.lease < math.inf:
            raise ValueError(f"lease must be at least 1 second, not {self.lease:g}")
        if not 0 <= self.live_seconds < math.inf:
            raise ValueError(f"live_seconds must be at least 0, not {self.live_seconds:g}")


@dataclass(frozen=True)
class CheckpointConfig:
    """Checkpoints of packs that train.

    Attributes:
        every_seconds: seconds between two checkpoints of a pack; 0: none are written or used.
    """

    every_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Validate the time."""
        if self.every_seconds < 0:
            raise ValueError(f"every_seconds must be at least 0, not {self.every_seconds:g}")


@dataclass(frozen=True)
class RecordConfig:
    """Records of a trial beside its numbers.

    Attributes:
        weights: whether to keep the trained W, U and a, as artifact weights.safetensors.
    """

    weights: bool = False


@dataclass(frozen=True)
class PathsConfig:
    """Paths of the files that a command writes.

    Attributes:
        output: the output root, a folder; by default SWEEPS_OUTPUT if that is set.
    """

    output: str = "outputs"

    def __post_init__(self) -> None:
        """Validate the name of the folder."""
        if not self.output.strip() or "\0" in self.output or "://" in self.output:
            raise ValueError(f"output={self.output!r} names no folder: give the path of one")


@dataclass(frozen=True)
class LaunchConfig:
    """Settings that do not change a trial's numbers.

    Attributes:
        study: name of the MLflow experiment.
        figure: first figure of the report.
        axes: an experiment's axes, by key: a list, or text in Hydra's sweep grammar.
        size: with paper, the axes under `paper` replace those of the same key under `axes`.
        paper: an experiment's axes at the papers' size.
        pack: most trials of one shape that train together on a worker; 1: each alone.
        cluster: where trials run.
        tracking: where results are recorded.
        search: which trials a sweep consists of.
        early_stopping: whether trials that fall behind are stopped early.
        checkpoint: how often a pack that trains is written to disk.
        record: what is recorded of a trial beside its numbers.
        paths: where a command writes its files.
    """

    study: str = "default"
    figure: Figure = "rates"
    axes: dict[str, Any] = field(default_factory=dict)
    size: Literal["laptop", "paper"] = "laptop"
    paper: dict[str, Any] = field(default_factory=dict)
    pack: int | Literal["auto"] = "auto"
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    search: SearchConfig = field(default_factory=GridConfig)
    early_stopping: EarlyStoppingConfig = field(default_factory=NoStoppingConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    record: RecordConfig = field(default_factory=RecordConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)

    def __post_init__(self) -> None:
        """Validate the study's name, the pack and the combination of search and early stopping."""
        if not self.study.strip():
            raise ValueError("study must not be empty: it names the MLflow experiment")
        if len(self.study) > MOST_LETTERS or not self.study.isprintable():
            raise ValueError(
                f"study={self.study[:20]!r}: it names the MLflow experiment: give at most "
                f"{MOST_LETTERS} characters that can be printed"
            )
        if not self.study.strip("."):
            raise ValueError(f"study={self.study} is a folder's name, and no study's")
        if self.pack != "auto" and self.pack < 1:
            raise ValueError(f"pack must be auto or at least 1, not {self.pack}")
        if not self.search.takes_stopped and self.early_stopping.name != "none":
            raise ValueError(
                f"search={self.search.name} with early_stopping: a trial that is cut short does "
                "not say whether the condition holds; leave early_stopping=none"
            )
