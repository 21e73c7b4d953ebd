"""The least and greatest eigenvalues of Gram matrices, in float64."""

import torch
from torch import Tensor


def least_eigenvalue(gram: Tensor) -> Tensor:
    """Return lambda_min of symmetric matrices (..., n, n); float64 (...)."""
    values: Tensor = torch.linalg.eigvalsh(gram.double())
    return values[..., 0]


def greatest_eigenvalue(gram: Tensor) -> Tensor:
    """Return lambda_max of symmetric matrices (..., n, n); float64 (...)."""
    values: Tensor = torch.linalg.eigvalsh(gram.double())
    return values[..., -1]


class LeastEigenvalue:
    """Computes lambda_min of symmetric positive matrices that change slowly, with a certificate.

    Inverse iteration with `BLOCK` vectors, started from the call before, gives a Rayleigh
    quotient theta >= lambda_min. If A - (1 - delta) theta I has a Cholesky factor, then
    lambda_min >= (1 - delta) theta; delta is `TOL`, or more where rounding does not resolve
    that. A matrix that fails this test is decomposed in full, which costs five times as much.
    Matrices of at most `SMALL` rows are decomposed in full from the start, which is faster.
    """

    TOL, BLOCK, SWEEPS, SMALL = 1e-6, 4, 3, 128
    STATE = ("_block",)

    def __init__(self) -> None:
        self._block: Tensor | None = None  # (B, n, BLOCK)

    def __call__(self, a: Tensor) -> Tensor:
        """Return the least eigenvalues of a (B, n, n) float64; (B,)."""
        if a.shape[-1] <= self.SMALL:
            return least_eigenvalue(a)
        if self._block is None:
            values, vectors = torch.linalg.eigh(a)
            self._block = vectors[..., : self.BLOCK].contiguous()
            least: Tensor = values[..., 0]
            return least
        theta, block, certified = self._inverse_iteration(a, self._block)
        for b in (~certified).nonzero().flatten().tolist():
            values, vectors = torch.linalg.eigh(a[b])
            theta[b], block[b] = values[0], vectors[:, : self.BLOCK]
        self._block = block
        return theta

    def _inverse_iteration(self, a: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        factor, info = torch.linalg.cholesky_ex(a)
        for _ in range(self.SWEEPS):
            x = torch.linalg.qr(torch.cholesky_solve(x, factor)).Q
        x = torch.nan_to_num(x)  # a matrix that is not positive gives NaN; it is not certified
        values, mix = torch.linalg.eigh(x.mT @ a @ x)
        theta = values[..., 0]
        n, eps = a.shape[-1], torch.finfo(a.dtype).eps
        greatest = torch.linalg.matrix_norm(a, ord=torch.inf)
        delta = self.TOL + 10 * n * eps * greatest / theta.clamp_min(torch.finfo(a.dtype).tiny)
        shift = (1 - delta) * theta
        eye = torch.eye(n, dtype=a.dtype, device=a.device)
        _, above = torch.linalg.cholesky_ex(a - shift[:, None, None] * eye)
        certified = (info == 0) & (above == 0) & (delta < 1e-2)
        return theta, x @ mix, certified

    def subset(self, keep: list[int]) -> "LeastEigenvalue":
        """Return an instance for these matrices of the batch."""
        part = LeastEigenvalue()
        part._block = None if self._block is None else self._block[keep]
        return part
