"""Configuration of the model and of its initial weights."""

import math
from dataclasses import dataclass, field
from typing import Literal

from deq.activations.properties import lipschitz


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
