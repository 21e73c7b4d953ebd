"""The width that Theorem 2 asks for.

Source: Ling et al. 2023, Theorem 2; docs/theory.md, section 4.
"""

import math


def sufficient_width(n: int, lambda_star: float) -> float:
    """Return n^2 / lambda_*^2 log(n / lambda_*), the order of the width that Theorem 2 asks for.

    The theorem has a constant in front, which it does not state: only the growth counts.

    Args:
        n: number of samples.
        lambda_star: lambda_min(K), above 0.
    """
    ratio = n / lambda_star
    return ratio**2 * math.log(ratio)
