"""Names, definitions and units of all numbers that a trial records; see docs/reference.md.

Symbols are the theory's (Ling et al. 2023, Truong 2023): Phi the loss, G = Z^T Z the Gram
matrix with least eigenvalue lambda_t at step t, H the tangent Gram matrix, K the limit of
G / m, L the Lipschitz constant of phi, m the width, n the samples, eta the step size.
"""

from sweeps.metrics.metric import SYSTEM, Column, Metric
from sweeps.metrics.runs import MACHINE, REPRODUCTION, STOPPED, SWEEP
from sweeps.metrics.summary import SUMMARY
from sweeps.metrics.theory import SLACKS, STRICT, slack_holds
from sweeps.metrics.trajectory import COLUMNS, CURVES

__all__ = [
    "COLUMNS",
    "CURVES",
    "MACHINE",
    "REPRODUCTION",
    "SLACKS",
    "STOPPED",
    "STRICT",
    "SUMMARY",
    "SWEEP",
    "SYSTEM",
    "Column",
    "Metric",
    "slack_holds",
]
