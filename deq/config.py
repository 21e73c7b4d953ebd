"""The configuration of a trial: everything that determines its numbers, and nothing else.

This module does not import torch, so that commands that only compose configurations are quick.
"""

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from deq.activations.constants import KINKED
from deq.activations.properties import has_kink, lipschitz
from deq.block_steps import BlockSteps, checked_factor, value_of
from deq.data.config import DataConfig, DigitsConfig

if TYPE_CHECKING:
    import torch

EtaUnit = Literal["absolute", "tangent", "population", "theorem"]
Dtype = Literal["float64", "float32"]
SolverName = Literal["picard", "anderson", "broyden", "newton_krylov"]
Finish = Literal["none", "float64"]
Precision = Literal["full", "mixed"]
Integrator = Literal["steps", "windows"]
# Smallest tolerance of windows that float64 resolves.
FINEST = 1e-10
# Largest tolerance of windows at which a rate is right to one percent.
COARSEST = 1e-3
# Default tolerance of windows for an activation without a kink.
SMOOTH_TOL = 1e-6
# Default tolerance of windows for an activation with a kink.
KINKED_TOL = 1e-4
# Most layers of a network of finite depth; with far fewer the distance is rounding already.
MOST_LAYERS = 10_000
# Machine epsilon by dtype.
EPS: dict[Dtype, float] = {"float64": 2.0**-52, "float32": 2.0**-23}
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
# Bytes per number by dtype.
BYTES: dict[Dtype, int] = {"float64": 8, "float32": 4}


@dataclass(frozen=True)
class ModelConfig:
    """The model and its initialisation (docs/theory.md, section 1).

    W_ij ~ N(0, 2 sigma_w2 / m), U_ij ~ N(0, 2 / d), a_i ~ N(0, sigma_a^2 / m).

    Attributes:
        width: number m of hidden neurons; W is m x m.
        activation: name of the activation phi; "package.module:name" for a user's own.
        sigma_w2: sigma_w^2, variance parameter of W: W_ij ~ N(0, 2 sigma_w^2 / m). The model is
            well posed below 1 / (8 L^2), L the Lipschitz constant of phi.
        sigma_a: scale of the output weights: a_i ~ N(0, sigma_a^2 / m); 1 in the papers.
        allow_ill_posed: accept a model.sigma_w2 at or above the well-posedness limit
            1 / (8 L^2). A trial's numbers do not depend on this key.
        activation_sha256: SHA-256 of the source of a user's own activation. It is filled in when
            the trial is composed, and checked when the config is used.
        init: how the first network is chosen. gaussian: the first one drawn; redraw: networks are
            drawn until conditions (7) to (9) of the theorem hold at some delta (Truong 2023).
        max_draws: with model.init=redraw, the most networks to draw. If none is accepted, the
            trial ends as `rejected`, until a higher number is set. A trial's numbers do not
            depend on this key.
    """

    width: int = 256
    activation: str = "relu"
    sigma_w2: float = 0.08
    sigma_a: float = 1.0
    allow_ill_posed: bool = field(default=False, metadata={"identity": False})
    activation_sha256: str = field(default="", metadata={"absent_at": ""})
    init: Literal["gaussian", "redraw"] = field(
        default="gaussian", metadata={"absent_at": "gaussian"}
    )
    max_draws: int = field(default=100, metadata={"identity": False})

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, not {self.width}")
        if not 0 <= self.sigma_w2 < math.inf:  # true for NaN as well
            raise ValueError(
                f"sigma_w2 is a variance: it must be finite and at least 0, not {self.sigma_w2}"
            )
        if not 0 < self.sigma_a < math.inf:
            raise ValueError(f"sigma_a must be finite and above 0, not {self.sigma_a}")
        if self.max_draws < 1:
            raise ValueError(f"max_draws must be at least 1, not {self.max_draws}")
        limit = self.well_posed_below
        if self.sigma_w2 >= limit and not self.allow_ill_posed:
            raise ValueError(
                f"sigma_w2={self.sigma_w2} is past the well-posedness limit "
                f"1/(8 L^2) = {limit:.6g} of {self.activation}: "
                "lower it, or set model.allow_ill_posed=true"
            )

    @property
    def well_posed_below(self) -> float:
        """The limit of sigma_w2, 1 / (8 L^2)."""
        return 1 / (8 * lipschitz(self.activation, sha256=self.activation_sha256) ** 2)


@dataclass(frozen=True)
class SolverConfig:
    """Solver of equilibria and adjoints.

    Attributes:
        name: solver of equilibria and adjoints. picard: the plain iteration, asymptotically
            optimal where it converges, since the eigenvalues of D_i W fill a disc; anderson,
            broyden: acceleration by earlier iterates; newton_krylov: for equilibria where Picard
            does not converge (||W||_2 L >= 1).
        tol: tolerance of the relative residual ||f(x) - x||_2 / ||f(x)||_2 of every sample, before
            the last map; x is the pre-activation W Z + U X of an equilibrium, or an adjoint.
            As the loss falls the tolerance is tightened, so that errors in the equilibria stay a
            thousandth of rms(yhat - y), down to what the dtype resolves.
        max_steps: most maps of one sample when an equilibrium or an adjoint is solved.
        finish: precision of the end of a float32 trial. float64: the trial continues in float64
            when float32 no longer resolves yhat - y, so that a rate can be fitted; none: the
            trial stays in float32.
        precision: precision of the solver's products. full: every product in the trial's dtype;
            mixed: one product in the trial's dtype for each fixed point, at the predicted start,
            and TF32 products of the increments, whose error counts as residual (see
            deq/solvers/mixed.py). mixed needs dtype=float32 and solver.name=picard; with
            solver.finish=float64 the end is in full precision. A CPU emulates TF32 without saving
            time.
    """

    name: SolverName = "picard"
    tol: float = 1e-8
    max_steps: int = 500
    finish: Finish = field(default="none", metadata={"absent_at": "none"})
    precision: Precision = field(default="full", metadata={"absent_at": "full"})

    def __post_init__(self) -> None:
        if not 0 < self.tol < 1:
            raise ValueError(f"tol must be in (0, 1), not {self.tol}")
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, not {self.max_steps}")
        if self.precision == "mixed" and self.name != "picard":
            raise ValueError(
                f"precision=mixed works with name=picard only, not {self.name}: set precision=full"
            )


@dataclass(frozen=True)
class TrainConfig:
    """Gradient descent.

    Attributes:
        steps: most GD steps of a trial, its budget.
        eta: step size in units of train.eta_unit.
        eta_unit: unit of train.eta. absolute: 1; tangent: 2 / lambda_max(H(0)); population: 2 /
            lambda_max(H_inf); theorem: the largest bound (10) over the delta that satisfy
            conditions (7) to (9).
        loss_tol: relative loss at which training has converged: Phi(t) <= loss_tol Phi(0).
        integrator: how the GD steps are computed. steps: one after the other; windows: many at
            once, with equal results to train.integrator_tol, at a cost that grows like the
            logarithm of the steps. windows needs solver.name=picard and solver.precision=full.
            With relu and leaky_relu the loss and the rate are right to about
            train.integrator_tol, yhat - y at one step to about 1e-3.
        integrator_tol: with train.integrator=windows, the greatest error of yhat - y at any step,
            relative to ||yhat - y||. null: 1e-6, or 1e-4 for an activation with a kink. Where
            rounding is larger the tolerance is loosened, and the trial's notes say so.
        momentum: beta of the heavy ball method, theta(t+1) = theta(t) - eta grad Phi + beta
            (theta(t) - theta(t-1)), in [0, 1); 0: gradient descent.
        batch: number of samples in the gradient of one GD step, drawn anew for each step; the
            gradient is scaled by n / batch. null: all n. Every step still solves for all samples,
            so that loss and spectra are those of the whole set: a batch shows the dynamics, and
            saves no time.
        factor_w: factor of the step size of W, at least 0: a number, or one over m or d, as in
            1/m; m is the width and d the input size without biases. H and all rates are then those
            of the sum of factor times block, and no result about the theorem is recorded, since
            the theorem has one step size.
        factor_u: factor of the step size of U, at least 0: a number, or one over m or d, as in
            1/d; see train.factor_w.
        factor_a: factor of the step size of a, at least 0: a number, or one over m or d, as in
            1/m; see train.factor_w.
        factor_bias: factor of the step size of the biases, which exist with data.bias, at least
            0: a number, or one over m or d, as in 1/m; null: that of train.factor_u.
    """

    steps: int = 500
    eta: float = 0.5
    eta_unit: EtaUnit = "tangent"
    loss_tol: float = 1e-20
    integrator: Integrator = field(default="steps", metadata={"absent_at": "steps"})
    integrator_tol: float | None = field(default=None, metadata={"absent_at": None})
    momentum: float = field(default=0.0, metadata={"absent_at": 0.0})
    batch: int | None = field(default=None, metadata={"absent_at": None})
    factor_w: float | str = field(default=1.0, metadata={"absent_at": 1.0})
    factor_u: float | str = field(default=1.0, metadata={"absent_at": 1.0})
    factor_a: float | str = field(default=1.0, metadata={"absent_at": 1.0})
    factor_bias: float | str | None = field(default=None, metadata={"absent_at": None})

    @property
    def plain(self) -> bool:
        """True for gradient descent on all samples with one step size, as in the theorem."""
        return self.momentum == 0 and self.batch is None and self.one_step

    @property
    def one_step(self) -> bool:
        """True if W, U and a have one step size."""
        return self.factor_w == self.factor_u == self.factor_a == 1 and self.factor_bias is None

    def __post_init__(self) -> None:
        self._check_factors()
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), not {self.momentum}")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch must be at least 1, not {self.batch}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if not 0 < self.eta < math.inf:  # true for NaN as well
            raise ValueError(f"eta must be finite and above 0, not {self.eta}")
        if not 0 <= self.loss_tol < 1:
            raise ValueError(f"loss_tol must be in [0, 1), not {self.loss_tol}")
        if self.integrator_tol is None:
            return
        if not FINEST <= self.integrator_tol <= COARSEST:
            raise ValueError(
                f"integrator_tol must be in [{FINEST:g}, {COARSEST:g}], not {self.integrator_tol}"
            )
        if self.integrator == "steps" and self.integrator_tol != SMOOTH_TOL:
            raise ValueError(
                "integrator_tol has no meaning with integrator=steps: leave it out, or set "
                "train.integrator=windows"
            )

    def _check_factors(self) -> None:
        """Check the factors of the blocks, and write each in its one form."""
        for name in ("factor_w", "factor_u", "factor_a"):
            object.__setattr__(self, name, checked_factor(name, getattr(self, name)))
        if self.factor_bias is not None:
            bias = checked_factor("factor_bias", self.factor_bias)
            object.__setattr__(self, "factor_bias", None if bias == self.factor_u else bias)
        factors = (self.factor_w, self.factor_u, self.factor_a, self.factor_bias or 0.0)
        if not any(value_of(factor, 1, 1) for factor in factors):
            raise ValueError(
                "factor_w, factor_u and factor_a are all 0, so that nothing is trained"
            )
        if self.eta_unit == "theorem" and not self.one_step:
            raise ValueError(
                "eta_unit=theorem is condition (10), which is about one step size: leave out "
                "train.factor_w, train.factor_u and train.factor_a, or set eta_unit=tangent"
            )


@dataclass(frozen=True)
class DiagnosticsConfig:
    """Cadence of the spectra.

    Attributes:
        every: GD steps between measurements of grad_norm, ||W||_2, lambda_min(G) and
            lambda_min(H). Loss, residuals and solver steps are recorded at every step.
        depth: number of layers up to which networks of finite depth are compared with the
            equilibrium of the network at step 0; 0: no comparison. It costs as many products with
            W as layers, and memory for one more W.
        high_dimension: whether the kernel K of the infinite width is compared with its explicit
            equivalents for inputs that are nearly orthogonal. It costs eigenvalues of n x n
            matrices, once for each trial.
    """

    every: int = 10
    depth: int = field(default=0, metadata={"absent_at": 0})
    high_dimension: bool = field(default=False, metadata={"absent_at": False})

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1, not {self.every}")
        if not 0 <= self.depth <= MOST_LAYERS:
            raise ValueError(f"depth must be in 0 .. {MOST_LAYERS}, not {self.depth}")


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
