"""Estimated products of a whole run, by single steps and in windows; without torch.

Formulas fitted to `solver/products_total` of runs on digits, float64, eta = 1 / lambda_max(H(0)),
of six smooth activations at m 128 to 512, n 32 and 64, 100 to 30000 steps. With x = n / m, T the
steps and c = 2 (1 + log(solver.tol) / log(L sqrt(2 sigma_w2))), the products of an equilibrium and
an adjoint from cold starts,

    steps:    (3 + x) T + 10.5 c,
    windows:  2^((d - 6) / 2) (9.3 c (1 + 3.8 x) + 35 (1 + 26 x) log(T / 100)),

d the digits of train.integrator_tol. With a kink a prediction of a fixed point is off by about
KINK_ERROR, so that a step takes

    1 + 2 (2 + log(solver.tol / KINK_ERROR) / log(L sqrt(2 sigma_w2))) + 5 x

where solver.tol is smaller, else 5 + 5 x, and windows take 2.2 times as much as without one, as
runs of ReLU and leaky ReLU did, and three times as much for an activation of one's own that has no
kink but is not analytic. Where that is more, windows cost 1.25 times the steps, which is the most
that they may. docs/windows.md states the errors. In float32 rounding ends windows early, after a
number of steps that the estimate does not know: they are not advised there.
"""

import math
from dataclasses import dataclass

from deq.activations.constants import KINKED
from deq.activations.properties import has_kink, is_smooth, lipschitz
from deq.config import TrialConfig

# The most that a run in windows costs over one by single steps.
DEARER = 1.25
# Share of the products of single steps below which windows are advised: the estimate may be wrong
# by half.
WORTHWHILE = 0.65

# Relative error of a predicted fixed point of an activation with a kink.
KINK_ERROR = 1e-7
# Products in windows of an activation with a kink over those of a smooth one.
KINKED_WINDOWS = 2.2
# The same of one without a kink that is not analytic (softsign and ELU took 2.7 to 4).
ROUGH_WINDOWS = 3.0


@dataclass(frozen=True)
class IntegratorCost:
    """Estimated products of a trial's whole budget; one is m x m by m x n.

    Attributes:
        flop: of one product, 2 m^2 n.
        steps: with train.integrator=steps.
        windows: with train.integrator=windows; None where it cannot be used.
        known: whether rounding lets windows be taken to the end of the budget.
    """

    flop: float
    steps: float
    windows: float | None
    known: bool = True

    @property
    def advice(self) -> str:
        """Value of train.integrator that costs less."""
        cheaper = self.windows is not None and self.windows < WORTHWHILE * self.steps and self.known
        return "windows" if cheaper else "steps"


def integrator_cost(config: TrialConfig, n: int) -> IntegratorCost:
    """Estimate the products of a trial with either integrator.

    Args:
        config: the trial; its own integrator does not matter.
        n: number of samples.
    """
    model, solver, count = config.model, config.solver, config.train.steps
    x, flop = n / model.width, 2.0 * model.width**2 * n
    rate = lipschitz(model.activation, sha256=model.activation_sha256)
    contraction = min(rate * math.sqrt(2 * model.sigma_w2), 0.99)
    cold = 2 * cold_maps(contraction, solver.tol)
    kinked = has_kink(model.activation)
    step = _kinked_step(contraction, solver.tol, x) if kinked else 3 + x
    steps = step * count + 10.5 * cold
    built = not kinked or (model.activation in KINKED and model.sigma_w2 < model.well_posed_below)
    built = built and config.train.plain
    if solver.name != "picard" or solver.precision != "full" or not built:
        return IntegratorCost(flop, steps, None)
    digits = -math.log10(config.integrator_tol)
    later = 35 * (1 + 26 * x) * math.log(max(count / 100, 1))
    windows = 2 ** ((digits - 6) / 2) * (9.3 * cold * (1 + 3.8 * x) + later)
    if kinked:
        windows *= KINKED_WINDOWS
    elif not is_smooth(model.activation):
        windows *= ROUGH_WINDOWS
    known = config.dtype == "float64"
    return IntegratorCost(flop, steps, min(windows, DEARER * steps), known)


def _kinked_step(contraction: float, tol: float, x: float) -> float:
    """Return the products of a single step with a kink, x = n / m."""
    more = tol < KINK_ERROR and contraction > 0
    beyond = math.log(tol / KINK_ERROR) / math.log(contraction) if more else 0
    return 1 + 2 * (2 + beyond) + 5 * x


def cold_maps(contraction: float, tol: float) -> int:
    """Return 1 + log tol / log contraction, rounded up: maps from a cold start to `tol`.

    Each map shrinks the residual by the contraction factor; one more map measures it.
    """
    if contraction == 0:
        return 2
    return 1 + math.ceil(math.log(tol) / math.log(contraction))
