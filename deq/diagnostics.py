"""What is measured of a pack at its cadence: spectra, warm from one time to the next."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deq.kernels import gram, tangent
from deq.pack import Pack
from deq.spectrum import LeastEigenvalue, OperatorNorm


@dataclass(frozen=True)
class Spectra:
    """Of the trials that were due, float64.

    Attributes:
        gram, tangent: (B, n, n) G and H.
        e: (B, n) yhat - y.
        norm_w, grad_norm, least_gram, least_tangent: (B,) ||W||_2, ||grad Phi||_2 =
            (e^T H e)^{1/2}, lambda_min(G), lambda_min(H).
    """

    gram: Tensor
    tangent: Tensor
    e: Tensor
    norm_w: Tensor
    grad_norm: Tensor
    least_gram: Tensor
    least_tangent: Tensor


class Diagnostics:
    """The spectra of a pack's trials."""

    def __init__(self) -> None:
        self._norm_w, self._least_gram = OperatorNorm(), LeastEigenvalue()
        self._least_tangent = LeastEigenvalue()

    def measure(self, pack: Pack) -> Spectra:
        """Of all trials, at the last equilibria and adjoints."""
        return self._measure(pack.w, pack.z, pack.r, pack.e, pack.xx)

    def measure_last(self, pack: Pack, keep: list[int]) -> Spectra:
        """Of these trials, which are about to leave; nothing is kept of it."""
        parts = [pack.w, pack.z, pack.r, pack.e, pack.xx]
        if len(keep) < len(pack.w):  # of all of them no copy is made
            parts = [part[keep] for part in parts]
        return self.only(keep)._measure(*parts)

    def _measure(self, w: Tensor, z: Tensor, r: Tensor, e: Tensor, xx: Tensor) -> Spectra:
        g, e = gram(z.mT), e.double()
        h = tangent(g, gram(r.mT), xx)
        return Spectra(
            gram=g,
            tangent=h,
            e=e,
            norm_w=self._norm_w(w),
            grad_norm=torch.einsum("bi,bij,bj->b", e, h, e).clamp_min(0).sqrt(),
            least_gram=self._least_gram(g),
            least_tangent=self._least_tangent(h),
        )

    def only(self, keep: list[int]) -> "Diagnostics":
        """The same for these trials."""
        part = Diagnostics()
        part._norm_w, part._least_gram = self._norm_w.only(keep), self._least_gram.only(keep)
        part._least_tangent = self._least_tangent.only(keep)
        return part
