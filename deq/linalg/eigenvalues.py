"""The least and greatest eigenvalues of Gram matrices, in float64."""

import torch
from torch import Tensor


def least_eigenvalue(gram: Tensor) -> Tensor:
    """lambda_min of symmetric matrices (..., n, n); float64 (...)."""
    values: Tensor = torch.linalg.eigvalsh(gram.double())
    return values[..., 0]


def greatest_eigenvalue(gram: Tensor) -> Tensor:
    """lambda_max of symmetric matrices (..., n, n); float64 (...)."""
    values: Tensor = torch.linalg.eigvalsh(gram.double())
    return values[..., -1]


class LeastEigenvalue:
    """lambda_min of symmetric positive matrices that change slowly, certified.

    Inverse iteration with `BLOCK` vectors, warm from the call before, gives a Rayleigh
    quotient theta >= lambda_min; that A - (1 - delta) theta I has a Cholesky factor shows
    lambda_min >= (1 - delta) theta, delta = `TOL` or what rounding resolves. A matrix that
    fails the test is decomposed in full. Two Cholesky factors cost a fifth of that.
    """

    TOL, BLOCK, SWEEPS = 1e-6, 4, 3
    STATE = ("_block",)

    def __init__(self) -> None:
        self._block: Tensor | None = None  # (B, n, BLOCK)

    def __call__(self, a: Tensor) -> Tensor:
        """The least eigenvalues of a (B, n, n) float64; (B,)."""
        if self._block is None:
            values, vectors = torch.linalg.eigh(a)
            self._block = vectors[..., : self.BLOCK].contiguous()
            least: Tensor = values[..., 0]
            return least
        theta, block, certain = self._inverse_iteration(a, self._block)
        for b in (~certain).nonzero().flatten().tolist():
            values, vectors = torch.linalg.eigh(a[b])
            theta[b], block[b] = values[0], vectors[:, : self.BLOCK]
        self._block = block
        return theta

    def _inverse_iteration(self, a: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        factor, info = torch.linalg.cholesky_ex(a)
        for _ in range(self.SWEEPS):
            x = torch.linalg.qr(torch.cholesky_solve(x, factor)).Q
        x = torch.nan_to_num(x)  # of a matrix that is not positive; it is not certain
        values, mix = torch.linalg.eigh(x.mT @ a @ x)
        theta = values[..., 0]
        n, eps = a.shape[-1], torch.finfo(a.dtype).eps
        greatest = torch.linalg.matrix_norm(a, ord=torch.inf)
        delta = self.TOL + 10 * n * eps * greatest / theta.clamp_min(torch.finfo(a.dtype).tiny)
        shift = (1 - delta) * theta
        eye = torch.eye(n, dtype=a.dtype, device=a.device)
        _, above = torch.linalg.cholesky_ex(a - shift[:, None, None] * eye)
        certain = (info == 0) & (above == 0) & (delta < 1e-2)
        return theta, x @ mix, certain

    def only(self, keep: list[int]) -> "LeastEigenvalue":
        """The same for these matrices."""
        part = LeastEigenvalue()
        part._block = None if self._block is None else self._block[keep]
        return part
