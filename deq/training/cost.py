"""Predicted cost of a trial in matrix products, FLOP and bytes; docs/theory.md, section 1."""

from dataclasses import dataclass

from deq.models.memory import memory
from deq.training.forecast import Forecast
from deq.training.integrator_cost import cold_maps, integrator_cost

# Products W Z (forward), W^T V (adjoint) and R Z^T (gradient), which every GD step needs.
FLOOR = 3


@dataclass(frozen=True)
class Cost:
    """The cost of a trial's whole budget. A product is one of m x m by m x n, 2 m^2 n FLOP.

    Attributes:
        products_floor: least products per GD step, whatever the solver.
        products_cold: products per GD step if every equilibrium and every adjoint is
            solved from a cold start: 1 + 2 (1 + log tol / log contraction). The engine
            predicts the starts and lies between the two. None if the maps do not contract.
        products_steps, products_windows: estimates for the whole budget with either
            train.integrator, see `integrator_cost`; None where windows cannot be used.
        flop_floor, flop_cold: FLOP of all steps without diagnostics.
        bytes: peak memory, see `deq.memory`.
    """

    products_floor: int
    products_cold: int | None
    products_steps: float
    products_windows: float | None
    flop_floor: float
    flop_cold: float | None
    bytes: int


def cost(forecast: Forecast) -> Cost:
    """Return the cost of a forecast's trial."""
    config, (d, n) = forecast.config, forecast.dataset.x.shape
    m = config.model.width
    one_each = 2.0 * m**2 * n * (config.train.steps + 1)  # step 0 is measured too
    cold = None
    if forecast.contraction is not None and forecast.contraction < 1:
        cold = 1 + 2 * cold_maps(forecast.contraction, config.solver.tol)
    both = integrator_cost(config, n)
    return Cost(
        products_steps=both.steps,
        products_windows=both.windows,
        products_floor=FLOOR,
        products_cold=cold,
        flop_floor=FLOOR * one_each,
        flop_cold=None if cold is None else cold * one_each,
        bytes=memory(config, d, n),
    )
