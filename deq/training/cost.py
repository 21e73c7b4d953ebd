"""What a trial will cost before it is run: matrix products, FLOP, bytes."""

import math
from dataclasses import dataclass

from deq.models.memory import memory
from deq.training.forecast import Forecast

# The products W Z (forward), W^T V (adjoint) and R Z^T (gradient) of any GD step.
FLOOR = 3


@dataclass(frozen=True)
class Cost:
    """The cost of a trial's whole budget. A product is one of m x m by m x n, 2 m^2 n FLOP.

    Attributes:
        products_floor: products per GD step that no solver can do without.
        products_cold: products per GD step when every equilibrium and every adjoint is
            solved from a cold start: 1 + 2 (1 + log tol / log contraction). Starting
            points predicted from earlier steps bring a step between the two. None when
            the maps are no contraction.
        flop_floor, flop_cold: FLOP of all steps, diagnostics not counted.
        bytes: what the trial holds at its peak, `deq.memory`.
    """

    products_floor: int
    products_cold: int | None
    flop_floor: float
    flop_cold: float | None
    bytes: int


def cost(forecast: Forecast) -> Cost:
    """The cost of the trial that a forecast is of."""
    config, (d, n) = forecast.config, forecast.dataset.x.shape
    m = config.model.width
    one_each = 2.0 * m**2 * n * (config.train.steps + 1)  # step 0 is measured too
    cold = None
    if forecast.contraction is not None and forecast.contraction < 1:
        cold = 1 + 2 * cold_maps(forecast.contraction, config.solver.tol)
    return Cost(
        products_floor=FLOOR,
        products_cold=cold,
        flop_floor=FLOOR * one_each,
        flop_cold=None if cold is None else cold * one_each,
        bytes=memory(config, d, n),
    )


def cold_maps(contraction: float, tol: float) -> int:
    """Maps of a fixed point from a cold start until the relative residual meets tol.

    The residual falls by the contraction factor with each map, and one more map shows it.
    """
    if contraction == 0:
        return 2
    return 1 + math.ceil(math.log(tol) / math.log(contraction))
