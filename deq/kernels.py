"""Gram matrices of a network as it stands: G, B and the tangent kernel H.

Source: THEORY section 2; Feng and Kolter, "On the neural tangent kernel of
equilibrium models".
"""

from torch import Tensor


def gram(z: Tensor) -> Tensor:
    """z^T z in float64; (..., m, n) to (..., n, n).

    In float64 whatever the training's dtype, because the least eigenvalue of nearly
    parallel inputs is far below float32's rounding of the greatest.
    """
    z = z.double()
    return z.mT @ z


def tangent(g: Tensor, b: Tensor, xx: Tensor) -> Tensor:
    """H = J J^T = G + B * G + B * (X^T X), J the Jacobian of yhat in (W, U, a).

    Args:
        g: (..., n, n) G = Z^T Z, Z the equilibria.
        b: (..., n, n) B = R^T R, R the adjoints D * V.
        xx: (..., n, n) X^T X.
    """
    return g + b * g + b * xx
