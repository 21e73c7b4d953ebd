"""Gram matrices of a network: G, B and the tangent kernel H.

Source: docs/theory.md, section 2; Feng and Kolter, "On the neural tangent kernel of
equilibrium models".
"""

import torch
from torch import Tensor

from deq.block_steps import ONE_STEP, BlockSteps

# Rows of z that are converted to float64 at once, so that no second z is held.
CHUNK = 4096


def gram(z: Tensor) -> Tensor:
    """Return z^T z in float64; (..., m, n) to (..., n, n).

    Always in float64, because the least eigenvalue of nearly parallel inputs is far below
    float32's rounding of the greatest.
    """
    total = z.new_zeros(*z.shape[:-2], z.shape[-1], z.shape[-1], dtype=torch.float64)
    for first in range(0, z.shape[-2], CHUNK):
        wide = z[..., first : first + CHUNK, :].double()
        total += wide.mT @ wide
    return total


def tangent(g: Tensor, b: Tensor, xx: Tensor, steps: BlockSteps = ONE_STEP) -> Tensor:
    """Return H = J F J^T = f_a G + f_w B * G + B * (X^T F_u X), J the Jacobian of yhat.

    F has the factors of the step size on its diagonal; F_u = f_u, save for biases of another one.

    Args:
        g: (..., n, n) G = Z^T Z, Z the equilibria.
        b: (..., n, n) B = R^T R, R the adjoints D * V.
        xx: (..., n, n) X^T X.
        steps: the factors; all 1 for the tangent kernel J J^T.
    """
    return steps.a * g + steps.w * (b * g) + b * steps.inputs(xx)
