"""Configuration of a trial: its parts, and checks that concern several of them."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from deq.activations.constants import KINKED
from deq.activations.properties import has_kink
from deq.block_steps import BlockSteps, value_of
from deq.config.diagnostics import DiagnosticsConfig
from deq.config.dtypes import EPS, Dtype
from deq.config.model import ModelConfig
from deq.config.solver import SolverConfig
from deq.config.train import KINKED_TOL, SMOOTH_TOL, TrainConfig
from deq.data.config import DataConfig, DigitsConfig

if TYPE_CHECKING:
    import torch

# Keys on which two trials must agree to train in one pack, beside the shape of their data.
PACK_KEYS = (
    "model.width",
    "model.activation",
    "train.momentum",
    "train.batch",
    "train.factor_w",
    "train.factor_u",
    "train.factor_a",
    "train.factor_bias",
    "data.bias",
    "solver",
    "diagnostics",
    "dtype",
)


@dataclass(frozen=True)
class TrialConfig:
    """Everything that determines a trial's numbers, and nothing else.

    Attributes:
        data: the data set.
        model: the network and its initialisation.
        train: gradient descent.
        solver: solver of equilibria and adjoints.
        diagnostics: cadence of the spectra.
        seed: seed of the network's initial weights.
        dtype: floating-point type of the training; the theory's numbers are always float64.
    """

    data: DataConfig = field(default_factory=DigitsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)
    seed: int = 0
    dtype: Dtype = "float64"

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in 0 .. 2**63 - 1, not {self.seed}")
        if self.solver.precision == "mixed" and self.dtype == "float64":
            raise ValueError(
                "solver.precision=mixed works with dtype=float32 only: set dtype=float32, "
                "or solver.precision=full"
            )
        if self.train.integrator == "windows":
            self._check_windows()
        self._check_step_rule()
        self._drop_default_tol()
        floor = 2 * EPS[self.dtype]
        if self.solver.tol < floor:
            remedy = ", or set dtype=float64" if self.dtype == "float32" else ""
            raise ValueError(
                f"solver.tol={self.solver.tol:g} is below what {self.dtype} resolves "
                f"({floor:.1e}): raise it{remedy}"
            )

    def _drop_default_tol(self) -> None:
        """Set a tolerance that is the default, or has no meaning, to None: one form, one hash."""
        chosen = self.train.integrator_tol
        steps = self.train.integrator == "steps"
        if chosen is not None and (steps or chosen == self._default_tol()):
            object.__setattr__(self, "train", replace(self.train, integrator_tol=None))

    def _check_step_rule(self) -> None:
        """Refuse a batch that is too large; set one of all samples to None: one form, one hash."""
        n, batch = self.data.n, self.train.batch
        if batch is not None and n is not None:
            if batch > n:
                raise ValueError(f"train.batch={batch} is larger than data.n={n}: lower it")
            if batch == n:
                object.__setattr__(self, "train", replace(self.train, batch=None))
        if self.train.factor_bias is not None and not self.data.bias:
            raise ValueError(
                "train.factor_bias has no meaning without biases: leave it out, or set data.bias"
            )
        if self.train.momentum and self.solver.precision == "mixed":
            raise ValueError(
                "solver.precision=mixed works without train.momentum only: set "
                "solver.precision=full, or train.momentum=0"
            )

    def _check_windows(self) -> None:
        """Refuse trials for which windows are not built."""
        if not self.train.plain:
            raise ValueError(
                "train.integrator=windows works with full-batch gradient descent of one step size "
                "only: set train.integrator=steps, or leave out train.momentum, train.batch, "
                "train.factor_w, train.factor_u and train.factor_a"
            )
        activation = self.model.activation
        if has_kink(activation) and activation not in KINKED:
            raise ValueError(
                f"train.integrator=windows: of kinked activations it works with "
                f"{' and '.join(sorted(KINKED))} only, not {activation}: set train.integrator=steps"
            )
        if self.solver.name != "picard" or self.solver.precision != "full":
            raise ValueError(
                "train.integrator=windows works with solver.name=picard and "
                "solver.precision=full only: set these, or train.integrator=steps"
            )

    def block_steps(self, d: int) -> BlockSteps:
        """Return the factors of the step size of W, U and a; d: number of rows of X."""
        train, m, d = self.train, self.model.width, d - (self.data.bias > 0)
        w, u, a = (value_of(f, m, d) for f in (train.factor_w, train.factor_u, train.factor_a))
        bias = u if train.factor_bias is None else value_of(train.factor_bias, m, d)
        return BlockSteps(w, u, a, (bias - u) * self.data.bias**2)

    @property
    def integrator_tol(self) -> float:
        """The tolerance of windows: `train.integrator_tol`, or its default."""
        chosen = self.train.integrator_tol
        return self._default_tol() if chosen is None else chosen

    @property
    def windows_are_taken(self) -> bool:
        """True if windows are tried; with a kink, only below the limit of sigma_w2."""
        model = self.model
        below = not has_kink(model.activation) or model.sigma_w2 < model.well_posed_below
        return self.train.integrator == "windows" and below

    def _default_tol(self) -> float:
        return KINKED_TOL if has_kink(self.model.activation) else SMOOTH_TOL

    @property
    def torch_dtype(self) -> "torch.dtype":
        """`dtype` as torch's type."""
        import torch

        return torch.float64 if self.dtype == "float64" else torch.float32
