"""Floating-point types of the training."""

from typing import Literal

Dtype = Literal["float64", "float32"]
# Machine epsilon by dtype.
EPS: dict[Dtype, float] = {"float64": 2.0**-52, "float32": 2.0**-23}
# Bytes per number by dtype.
BYTES: dict[Dtype, int] = {"float64": 8, "float32": 4}
