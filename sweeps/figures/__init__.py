"""Figures: one file each; `style` is the door to matplotlib."""

from collections.abc import Callable

from sweeps.figures import (
    activations,
    best,
    curves,
    frontier,
    output_scale,
    rates,
    sigma_w,
    stability,
    trial,
    width_scaling,
)
from sweeps.figures.study import Study

__all__ = ["FIGURES", "Study", "rates", "trial"]

# By the name an experiment gives in its key `figure`.
FIGURES: dict[str, Callable[[Study], bytes]] = {
    "rates": rates.draw,
    "curves": curves.draw,
    "width_scaling": width_scaling.draw,
    "activations": activations.draw,
    "stability": stability.draw,
    "sigma_w": sigma_w.draw,
    "output_scale": output_scale.draw,
    "frontier": frontier.draw,
    "best": best.draw,
}
