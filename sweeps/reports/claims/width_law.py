"""Fit of a quantity of networks to a power of their width."""

import math
from typing import TYPE_CHECKING

import deq
from sweeps.reports.claims.finding import WIDTH
from sweeps.reports.claims.frame import ANY_WIDTH, DRAW

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame


def power_of_width(networks: "DataFrame", column: str) -> "deq.PowerLaw | None":
    """Fit one power of the width to a positive quantity of networks.

    Networks that differ in width and seed only have one law; all laws have one exponent. The
    networks of one draw, such as those of several activations, have errors in common: their
    geometric mean is one point, and draws of the same laws share a scale.

    Args:
        networks: one row for each network; see `claims_frame`.
        column: the quantity.

    Returns:
        None for too few points.
    """
    draws = networks.assign(log=networks[column].map(math.log)).groupby(DRAW)
    means = draws["log"].mean().map(math.exp)
    laws = draws[ANY_WIDTH].agg(lambda names: "; ".join(sorted(set(names))))
    return deq.power_law(draws[WIDTH].first().tolist(), means.tolist(), laws.tolist())
