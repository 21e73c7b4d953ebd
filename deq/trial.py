"""A trial's configuration: everything that determines its numbers, and nothing else."""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch

from deq.data import DataConfig, DigitsConfig
from deq.model import ModelConfig
from deq.solvers import SolverConfig

EtaUnit = Literal["absolute", "tangent", "population", "theorem"]
Dtype = Literal["float64", "float32"]


@dataclass(frozen=True)
class TrainConfig:
    """Gradient descent.

    Attributes:
        steps: the budget of GD steps.
        eta: step size, in units of `eta_unit`.
        eta_unit: absolute; tangent: 2 / lambda_max(H(0)); population: 2 /
            lambda_max(H_inf); theorem: the bound (10) at the best delta.
        loss_tol: converged when Phi(t) <= loss_tol Phi(0).
    """

    steps: int = 500
    eta: float = 0.5
    eta_unit: EtaUnit = "tangent"
    loss_tol: float = 1e-20

    def __post_init__(self) -> None:
        """Refuse a budget or a step size that trains nothing."""
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if not 0 < self.eta < math.inf:  # true for NaN as well
            raise ValueError(f"eta must be finite and above 0, not {self.eta}")
        if not 0 <= self.loss_tol < 1:
            raise ValueError(f"loss_tol must be in [0, 1), not {self.loss_tol}")


@dataclass(frozen=True)
class DiagnosticsConfig:
    """What is measured how often.

    Attributes:
        every: GD steps between measurements of grad_norm, ||W||_2, lambda_min(G) and
            lambda_min(H). Loss, residuals and solver steps are recorded at every step.
    """

    every: int = 10

    def __post_init__(self) -> None:
        """Refuse a cadence below 1."""
        if self.every < 1:
            raise ValueError(f"every must be at least 1, not {self.every}")


@dataclass(frozen=True)
class TrialConfig:
    """Everything that determines a trial's numbers, and nothing else.

    Attributes:
        data: what it trains on.
        model: the network and its initialisation.
        train: gradient descent.
        solver: how equilibria and adjoints are solved.
        diagnostics: what is measured how often.
        seed: of the network's draw.
        dtype: of the training; the theory's numbers are float64 either way.
    """

    data: DataConfig = field(default_factory=DigitsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)
    seed: int = 0
    dtype: Dtype = "float64"

    def __post_init__(self) -> None:
        """Refuse what only the parts together show."""
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in 0 .. 2**63 - 1, not {self.seed}")
        if self.solver.precision == "mixed" and self.dtype == "float64":
            raise ValueError(
                "solver.precision=mixed works with dtype=float32 only: set dtype=float32, "
                "or solver.precision=full"
            )
        floor = 2 * torch.finfo(self.torch_dtype).eps
        if self.solver.tol < floor:
            remedy = ", or set dtype=float64" if self.dtype == "float32" else ""
            raise ValueError(
                f"solver.tol={self.solver.tol:g} is below what {self.dtype} resolves "
                f"({floor:.1e}): raise it{remedy}"
            )

    @property
    def torch_dtype(self) -> torch.dtype:
        """The training's dtype."""
        return torch.float64 if self.dtype == "float64" else torch.float32
