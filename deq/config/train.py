"""Configuration of gradient descent."""

import math
from dataclasses import dataclass, field
from typing import Literal

from deq.block_steps import checked_factor, value_of

EtaUnit = Literal["absolute", "tangent", "population", "theorem"]
Integrator = Literal["steps", "windows"]
# Smallest tolerance of windows that float64 resolves.
FINEST = 1e-10
# Largest tolerance of windows at which a rate is right to one percent.
COARSEST = 1e-3
# Default tolerance of windows for an activation without a kink.
SMOOTH_TOL = 1e-6
# Default tolerance of windows for an activation with a kink.
KINKED_TOL = 1e-4


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
            With relu and leaky_relu the rate is right to train.integrator_tol, the loss to 1e-3,
            and what is measured at one step to less.
        integrator_tol: with train.integrator=windows, the greatest error of yhat - y at any step,
            relative to ||yhat - y||, from 1e-10 to 1e-3. null: 1e-6, with a kink 1e-4. Where
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
