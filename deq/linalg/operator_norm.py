"""Operator norm ||W||_2, the greatest singular value, by the Lanczos method."""

import torch
from torch import Tensor


def operator_norm(w: Tensor, *, tol: float = 1e-6, max_steps: int = 300) -> Tensor:
    """Return ||w||_2 of matrices w (B, m, k), by Lanczos on w^T w; float64 (B,).

    With full reorthogonalisation and a fixed pseudo-random start. Power iteration would
    need hundreds of products, because the spectrum of a Gaussian matrix is dense at its
    edge; Lanczos needs tens. Source: Golub and Van Loan, section 10.1.

    Args:
        w: the matrices.
        tol: stop when the Ritz residual, which bounds the error, is below this share of
            the squared norm.
        max_steps: most Lanczos steps.
    """
    return _lanczos(w, _random_start(w), tol, max_steps, warm=False)[0]


class OperatorNorm:
    """Computes ||w||_2 of matrices that change slowly, from the last singular vector.

    A warm start stops once residual^2 / gap, the eigenvalue's error, is below `TOL`
    relative: after 3 to 8 steps instead of 50, within 1e-6 of the norm. When two singular
    values cross, a warm start may stay on the second, so every `FULL`-th call starts cold.
    """

    TOL, FULL = 1e-7, 20
    STATE = ("_vector", "_calls")

    def __init__(self) -> None:
        self._vector: Tensor | None = None  # (B, k)
        self._calls = 0

    def __call__(self, w: Tensor) -> Tensor:
        """Return the norms of w (B, m, k); float64 (B,)."""
        warm = self._vector if self._calls % self.FULL else None
        self._calls += 1
        start = _random_start(w) if warm is None else warm
        norm: Tensor
        norm, vector = _lanczos(w, start, self.TOL, 300, warm=warm is not None)
        # W = 0 has no singular vector: the next call starts from a random one.
        none = torch.linalg.vector_norm(vector, dim=-1, keepdim=True) < 0.5
        self._vector = torch.where(none, _random_start(w), vector)
        return norm

    def subset(self, keep: list[int]) -> "OperatorNorm":
        """Return an instance for these matrices of the batch."""
        part = OperatorNorm()
        part._calls = self._calls
        part._vector = None if self._vector is None else self._vector[keep]
        return part


def _random_start(w: Tensor) -> Tensor:
    start = torch.randn(w.shape[-1], dtype=w.dtype, generator=torch.Generator().manual_seed(0))
    return start.to(w.device).expand(w.shape[0], -1)


def _lanczos(
    w: Tensor, start: Tensor, tol: float, max_steps: int, *, warm: bool
) -> tuple[Tensor, Tensor]:
    """Return ||w||_2 (B,) float64 and right singular vectors (B, k); each has its own stop."""
    last, tiny = min(w.shape[-1], max_steps), torch.finfo(w.dtype).tiny
    krylov = _Krylov(w, start, min(last, 60))
    vector = krylov.q.clone()
    square = torch.zeros(w.shape[0], dtype=torch.float64, device=w.device)
    done = torch.zeros(w.shape[0], dtype=torch.bool, device=w.device)
    for j in range(1, last + 1):
        beta = krylov.extend()
        if not (warm and j >= 3) and j % 5 and j != last:
            continue
        theta, ritz = krylov.ritz()
        error = beta * ritz[..., -1, -1].abs()
        if warm and j >= 3:
            error = error**2 / (theta[..., -1] - theta[..., -2]).clamp_min(tiny)
        met = (error <= tol * theta[..., -1]) | (j == last)
        new = met & ~done
        square = torch.where(new, theta[..., -1], square)
        vector = torch.where(new[:, None], krylov.combination(ritz[..., -1:]), vector)
        done = done | met
        if bool(done.all()):
            break
    return square.clamp_min(0.0).sqrt(), vector


class _Krylov:
    """Orthonormal bases of the Krylov spaces of w^T w, and the tridiagonal w^T w in them.

    Attributes:
        q: the newest basis vectors, (B, k).
    """

    def __init__(self, w: Tensor, start: Tensor, room: int) -> None:
        self._w = w
        self.q: Tensor = start / torch.linalg.vector_norm(start, dim=-1, keepdim=True)
        self._basis: Tensor = self.q.new_empty(w.shape[0], room, w.shape[-1])  # vectors as rows
        self._alphas: list[Tensor] = []
        self._betas: list[Tensor] = []
        self._next: tuple[Tensor, Tensor] | None = None

    def extend(self) -> Tensor:
        """Add one basis vector q; return the norm of w^T w q outside the bases, (B,)."""
        tiny, eps = torch.finfo(self._w.dtype).tiny, torch.finfo(self._w.dtype).eps
        if self._next is not None:
            v, length = self._next
            self._betas.append(length)
            self.q = v / length.clamp_min(tiny)[:, None].to(v.dtype)
        v = torch.bmm(self._w.mT, torch.bmm(self._w, self.q[..., None]))[..., 0]
        self._alphas.append((self.q * v).sum(-1).double())
        if len(self._alphas) > self._basis.shape[1]:
            self._basis = torch.cat((self._basis, torch.empty_like(self._basis)), dim=1)
        self._basis[:, len(self._alphas) - 1] = self.q
        basis = self._vectors()
        for _ in range(2):  # twice is enough (Kahan, in Parlett 1980)
            v = v - torch.bmm(basis.mT, torch.bmm(basis, v[..., None]))[..., 0]
        beta: Tensor = torch.linalg.vector_norm(v, dim=-1).double()
        # An exhausted Krylov space continues with zero: normalised noise is not orthogonal
        # to the basis and would grow while other matrices of the batch are not done.
        exhausted = beta <= 100 * eps * torch.stack(self._alphas).amax(0)
        beta, v = beta.masked_fill(exhausted, 0.0), v.masked_fill(exhausted[:, None], 0.0)
        self._next = v, beta
        return beta

    def ritz(self) -> tuple[Tensor, Tensor]:
        """Return Ritz values (B, j), ascending, and their coordinates (B, j, j) in the bases."""
        t = torch.diag_embed(torch.stack(self._alphas, dim=-1))
        if self._betas:
            off = torch.stack(self._betas, dim=-1)
            t = t + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
        values, vectors = torch.linalg.eigh(t)
        return values, vectors

    def combination(self, ritz: Tensor) -> Tensor:
        """Return the vectors (B, k) with these coordinates (B, j, 1) in the bases."""
        vectors: Tensor = torch.bmm(self._vectors().mT, ritz.to(self._w.dtype))[..., 0]
        return vectors

    def _vectors(self) -> Tensor:
        return self._basis[:, : len(self._alphas)]
