"""Extreme eigenvalues and singular values, in float64 where theory is compared."""

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


def operator_norm(w: Tensor, *, tol: float = 1e-6, max_steps: int = 300) -> Tensor:
    """||w||_2 of matrices (B, m, k) by Lanczos on w^T w; float64 (B,).

    With full reorthogonalisation, from a fixed pseudo-random start, until the Ritz
    residual shows a relative error of the squared norm below `tol` (the eigenvalue's
    error is bounded by the residual, and in practice is its square over the gap). The
    spectrum of a Gaussian matrix is dense at its edge, where power iteration needs
    hundreds of products; Lanczos needs some tens. Golub and Van Loan, section 10.1.
    """
    return _lanczos(w, _random_start(w), tol, max_steps, warm=False)[0]


class OperatorNorm:
    """||w||_2 of matrices that change slowly, from the singular vector found before.

    Warm, Lanczos stops once residual^2 / gap, the eigenvalue's error, is below `TOL`
    relative: after 3 to 8 steps where a cold start takes 50, and within 1e-6 of the norm.
    Where two singular values cross, a warm start may stay on the second, so every
    `FULL`-th call starts cold.
    """

    TOL, FULL = 1e-7, 20
    STATE = ("_vector", "_calls")

    def __init__(self) -> None:
        self._vector: Tensor | None = None  # (B, k)
        self._calls = 0

    def __call__(self, w: Tensor) -> Tensor:
        """The norms of w (B, m, k); float64 (B,)."""
        warm = self._vector if self._calls % self.FULL else None
        self._calls += 1
        start = _random_start(w) if warm is None else warm
        norm: Tensor
        norm, vector = _lanczos(w, start, self.TOL, 300, warm=warm is not None)
        # Of W = 0 no vector is found; its successor starts afresh.
        none = torch.linalg.vector_norm(vector, dim=-1, keepdim=True) < 0.5
        self._vector = torch.where(none, _random_start(w), vector)
        return norm

    def only(self, keep: list[int]) -> "OperatorNorm":
        """The same for these matrices."""
        part = OperatorNorm()
        part._calls = self._calls
        part._vector = None if self._vector is None else self._vector[keep]
        return part


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


def _random_start(w: Tensor) -> Tensor:
    start = torch.randn(w.shape[-1], dtype=w.dtype, generator=torch.Generator().manual_seed(0))
    return start.to(w.device).expand(w.shape[0], -1)


def _lanczos(
    w: Tensor, start: Tensor, tol: float, max_steps: int, *, warm: bool
) -> tuple[Tensor, Tensor]:
    """||w||_2 (B,) float64 and right singular vectors (B, k); each by its own accuracy."""
    batch, _, k = w.shape
    tiny, eps = torch.finfo(w.dtype).tiny, torch.finfo(w.dtype).eps
    q = start / torch.linalg.vector_norm(start, dim=-1, keepdim=True)
    vector, last = q.clone(), min(k, max_steps)
    basis = q.new_empty(batch, min(last, 60), k)  # a row for each Lanczos vector
    alphas: list[Tensor] = []
    betas: list[Tensor] = []
    square = torch.zeros(batch, dtype=torch.float64, device=w.device)
    found = torch.zeros(batch, dtype=torch.bool, device=w.device)
    for j in range(1, last + 1):
        v = torch.bmm(w.mT, torch.bmm(w, q[..., None]))[..., 0]
        alphas.append((q * v).sum(-1).double())
        if j > basis.shape[1]:
            basis = torch.cat((basis, torch.empty_like(basis)), dim=1)
        basis[:, j - 1] = q
        known = basis[:, :j]
        for _ in range(2):  # twice is enough (Kahan, in Parlett 1980)
            v = v - torch.bmm(known.mT, torch.bmm(known, v[..., None]))[..., 0]
        beta: Tensor = torch.linalg.vector_norm(v, dim=-1).double()
        # An exhausted Krylov space is left at zero: its noise, normalised, is not
        # orthogonal to the basis and would grow while the batch waits for others.
        exhausted = beta <= 100 * eps * torch.stack(alphas).amax(0)
        beta, v = beta.masked_fill(exhausted, 0.0), v.masked_fill(exhausted[:, None], 0.0)
        if (warm and j >= 3) or j % 5 == 0 or j == last:
            theta, ritz = _ritz(alphas, betas)
            error = beta * ritz[..., -1, -1].abs()
            if warm and j >= 3:
                error = error**2 / (theta[..., -1] - theta[..., -2]).clamp_min(tiny)
            met = (error <= tol * theta[..., -1]) | (j == last)
            new = met & ~found
            square = torch.where(new, theta[..., -1], square)
            leading = torch.bmm(known.mT, ritz[..., -1:].to(w.dtype))[..., 0]
            vector, found = torch.where(new[:, None], leading, vector), found | met
            if bool(found.all()):
                break
        betas.append(beta)
        q = v / beta.clamp_min(tiny)[:, None].to(w.dtype)
    return square.clamp_min(0.0).sqrt(), vector


def _ritz(alphas: list[Tensor], betas: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Ritz values (B, j), ascending, and vectors (B, j, j) in the Lanczos basis."""
    diagonal = torch.stack(alphas, dim=-1)
    t = torch.diag_embed(diagonal)
    if betas:
        off = torch.stack(betas, dim=-1)
        t = t + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
    values, vectors = torch.linalg.eigh(t)
    return values, vectors
