"""What does not change a trial's numbers: where it runs, how it is recorded and searched."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from sweeps.config.early_stopping import EarlyStoppingConfig, NoStoppingConfig
from sweeps.config.search import FrontierConfig, GridConfig, SearchConfig

# Of a study: MLflow keeps no longer name of an experiment in every database.
MOST_LETTERS = 200
Figure = Literal[
    "rates",
    "curves",
    "width_scaling",
    "activations",
    "stability",
    "sigma_w",
    "output_scale",
    "frontier",
    "best",
]


@dataclass(frozen=True)
class ClusterConfig:
    """Where trials run, and with what. What is given to a trial is given to a pack of them.

    Attributes:
        name: a Ray of its own on this machine, an existing cluster, or this very process.
        address: HOST:PORT of an existing cluster's head.
        cpus_per_trial: CPUs, and the threads that train on them.
        gpus_per_trial: GPUs: a fraction of one, or whole ones.
        memory_gb_per_trial: GB (10^9 bytes) a node must have free of other trials' share.
        resources: the cluster's own resources, by their names there.
        max_retries: how often a pack is tried again whose worker died.
        trial_timeout: seconds that a trial, or a pack of them, may train; 0: any. One that
            takes longer has failed; where it hangs within a step, its worker is ended.
    """

    name: Literal["local", "ray", "inline"] = "local"
    address: str = ""
    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    memory_gb_per_trial: float = 0.0
    resources: dict[str, float] = field(default_factory=dict)
    max_retries: int = 2
    trial_timeout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse resources nothing could run on, and an address that would not be used."""
        if self.address and self.name != "ray":
            raise ValueError("address is an existing cluster's: give cluster=ray too")
        if self.cpus_per_trial < 1:
            raise ValueError(f"cpus_per_trial must be at least 1, not {self.cpus_per_trial}")
        if min(self.gpus_per_trial, self.memory_gb_per_trial, self.max_retries) < 0:
            raise ValueError(
                "gpus_per_trial, memory_gb_per_trial and max_retries must be at least 0"
            )
        if not 0 <= self.trial_timeout < math.inf:
            raise ValueError(f"trial_timeout must be at least 0, not {self.trial_timeout:g}")
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
    """Where results are recorded.

    Attributes:
        name: MLflow embedded under the output root, or a server.
        uri: the server's address; MLFLOW_TRACKING_URI by default.
        lease: seconds after which a driver that is not heard of is taken for dead, and the
            run of its sweep is closed by whoever else works in that experiment.
        live_seconds: seconds from one time to the next that a trial's points are sent while
            it trains; 0: when it has ended.
    """

    name: Literal["local", "server"] = "local"
    uri: str = ""
    lease: float = 120.0
    live_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Refuse a lease that no driver could keep, and a server that would not be used."""
        if self.uri and self.name != "server":
            raise ValueError("uri is a server's: give tracking=server too")
        if not 1 <= self.lease < math.inf:
            raise ValueError(f"lease must be at least 1 second, not {self.lease:g}")
        if not 0 <= self.live_seconds < math.inf:
            raise ValueError(f"live_seconds must be at least 0, not {self.live_seconds:g}")


@dataclass(frozen=True)
class CheckpointConfig:
    """How often a pack that trains is written to disk.

    Attributes:
        every_seconds: seconds from one time to the next; 0: never, nor gone on from.
    """

    every_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse a time below 0."""
        if self.every_seconds < 0:
            raise ValueError(f"every_seconds must be at least 0, not {self.every_seconds:g}")


@dataclass(frozen=True)
class RecordConfig:
    """Settings of what is recorded of a trial beside its numbers.

    Attributes:
        weights: keep W, U and a as training leaves them, the artifact weights.safetensors.
    """

    weights: bool = False


@dataclass(frozen=True)
class PathsConfig:
    """Where everything a command writes lies.

    Attributes:
        output: the output root, a folder; SWEEPS_OUTPUT where that is set and not empty.
    """

    output: str = "outputs"

    def __post_init__(self) -> None:
        """Refuse what names no folder."""
        if not self.output.strip() or "\0" in self.output or "://" in self.output:
            raise ValueError(f"output={self.output!r} names no folder: give the path of one")


@dataclass(frozen=True)
class LaunchConfig:
    """What does not change a trial's numbers.

    Attributes:
        study: the name of the MLflow experiment.
        figure: what the report draws first.
        axes: an experiment's axes, by key: a list, or text in Hydra's sweep grammar.
        size: with paper, the keys under `paper` replace the axes of the same name.
        paper: an experiment's axes at the papers' size.
        pack: trials of one shape trained together on one worker; 1 forbids it.
        cluster: where trials run.
        tracking: where results are recorded.
        search: which trials a sweep consists of.
        early_stopping: whether trials that fall behind are ended early.
        checkpoint: how often a pack that trains is written to disk.
        record: what is recorded of a trial beside its numbers.
        paths: where everything a command writes lies.
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
        """Refuse an empty study name or pack, and what has no answer of trials cut short."""
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
        if isinstance(self.search, FrontierConfig) and self.early_stopping.name != "none":
            raise ValueError(
                "search=frontier with early_stopping: a trial that is cut short does not say "
                "whether the condition holds; leave early_stopping=none"
            )
