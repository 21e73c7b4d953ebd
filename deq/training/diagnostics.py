"""Spectra of a pack, measured at a cadence; each measurement starts from the one before."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deq.block_steps import ONE_STEP, BlockSteps
from deq.linalg.eigenvalues import LeastEigenvalue
from deq.linalg.operator_norm import OperatorNorm
from deq.theory.kernels import gram, tangent
from deq.training.pack import Pack

# Measurements from one check of the gradient's norm to the next.
CHECK_EVERY = 10


@dataclass(frozen=True)
class Spectra:
    """Spectra of the measured trials, float64 (docs/theory.md, section 2).

    Attributes:
        gram, tangent: (B, n, n) G and H, each block of H times the factor of its step size.
        e: (B, n) yhat - y.
        norm_w, grad_norm, least_gram, least_tangent: (B,) ||W||_2, ||grad Phi||_2 =
            (e^T J J^T e)^{1/2}, lambda_min(G), lambda_min(H).
        grad_check: (B,) relative difference of grad_norm and the norm of the gradient that
            the step takes, which is computed in another way; NaN where not checked.
        kernel_drift: (B,) ||H(t) - H(0)||_F / ||H(0)||_F.
    """

    gram: Tensor
    tangent: Tensor
    e: Tensor
    norm_w: Tensor
    grad_norm: Tensor
    least_gram: Tensor
    least_tangent: Tensor
    grad_check: Tensor
    kernel_drift: Tensor

    def rows(self) -> list[dict[str, float]]:
        """Return the columns of the trajectory that are measured here, trial by trial."""
        columns = {
            "grad_norm": self.grad_norm.tolist(),
            "grad_check": self.grad_check.tolist(),
            "lambda_min_gram": self.least_gram.tolist(),
            "lambda_min_tangent": self.least_tangent.tolist(),
            "norm_w": self.norm_w.tolist(),
            "kernel_drift": self.kernel_drift.tolist(),
        }
        count = len(self.e)
        return [{name: column[k] for name, column in columns.items()} for k in range(count)]


class Diagnostics:
    """Measures the spectra of a pack's trials.

    Attributes:
        first: (B, n, n) H(0), of which the drift is measured; that of the first measurement
            where it is not given.
        steps: factors of the step size of W, U and a.
    """

    STATE = ("_norm_w", "_least_gram", "_least_tangent", "_calls")

    def __init__(self, first: Tensor | None = None, steps: BlockSteps = ONE_STEP) -> None:
        self.first, self.steps = first, steps
        self._norm_w, self._least_gram = OperatorNorm(), LeastEigenvalue()
        self._least_tangent = LeastEigenvalue()
        self._calls = 0

    def measure(self, pack: Pack) -> Spectra:
        """Measure all trials at the last equilibria and adjoints."""
        spectra = self._measure(pack.w, pack.z, pack.r, pack.e, pack.xx)
        self._calls += 1
        if self._calls % CHECK_EVERY != 1:
            return spectra
        check = (spectra.grad_norm / pack.gradient_norm() - 1).abs()
        return replace(spectra, grad_check=check)

    def measure_last(self, pack: Pack, keep: list[int]) -> Spectra:
        """Measure these trials once more before they leave the pack."""
        parts = [pack.w, pack.z, pack.r, pack.e, pack.xx]
        if len(keep) < len(pack.w):  # else no copy is needed
            parts = [part[keep] for part in parts]
        return self.subset(keep)._measure(*parts)

    def _measure(self, w: Tensor, z: Tensor, r: Tensor, e: Tensor, xx: Tensor) -> Spectra:
        g, b, e = gram(z.mT), gram(r.mT), e.double()
        h = tangent(g, b, xx, self.steps)
        jacobian = h if self.steps == ONE_STEP else tangent(g, b, xx)
        if self.first is None:
            self.first = h
        size = torch.linalg.matrix_norm(self.first)
        return Spectra(
            gram=g,
            tangent=h,
            e=e,
            norm_w=self._norm_w(w),
            grad_norm=torch.einsum("bi,bij,bj->b", e, jacobian, e).clamp_min(0).sqrt(),
            least_gram=self._least_gram(g),
            least_tangent=self._least_tangent(h),
            grad_check=torch.full_like(e[:, 0], torch.nan),
            kernel_drift=torch.linalg.matrix_norm(h - self.first) / size,
        )

    def subset(self, keep: list[int]) -> "Diagnostics":
        """Return the diagnostics of these trials."""
        part = Diagnostics(None if self.first is None else self.first[keep], self.steps)
        part._norm_w, part._least_gram = self._norm_w.subset(keep), self._least_gram.subset(keep)
        part._least_tangent = self._least_tangent.subset(keep)
        part._calls = self._calls
        return part
