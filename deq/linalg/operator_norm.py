"""||W||_2: the greatest singular value, by Lanczos."""

import torch
from torch import Tensor


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


def _random_start(w: Tensor) -> Tensor:
    start = torch.randn(w.shape[-1], dtype=w.dtype, generator=torch.Generator().manual_seed(0))
    return start.to(w.device).expand(w.shape[0], -1)


def _lanczos(
    w: Tensor, start: Tensor, tol: float, max_steps: int, *, warm: bool
) -> tuple[Tensor, Tensor]:
    """||w||_2 (B,) float64 and right singular vectors (B, k); each by its own accuracy."""
    last, tiny = min(w.shape[-1], max_steps), torch.finfo(w.dtype).tiny
    krylov = _Krylov(w, start, min(last, 60))
    vector = krylov.q.clone()
    square = torch.zeros(w.shape[0], dtype=torch.float64, device=w.device)
    found = torch.zeros(w.shape[0], dtype=torch.bool, device=w.device)
    for j in range(1, last + 1):
        beta = krylov.extend()
        if not (warm and j >= 3) and j % 5 and j != last:
            continue
        theta, ritz = krylov.ritz()
        error = beta * ritz[..., -1, -1].abs()
        if warm and j >= 3:
            error = error**2 / (theta[..., -1] - theta[..., -2]).clamp_min(tiny)
        met = (error <= tol * theta[..., -1]) | (j == last)
        new = met & ~found
        square = torch.where(new, theta[..., -1], square)
        vector = torch.where(new[:, None], krylov.combination(ritz[..., -1:]), vector)
        found = found | met
        if bool(found.all()):
            break
    return square.clamp_min(0.0).sqrt(), vector


class _Krylov:
    """Orthonormal bases of the Krylov spaces of w^T w, and w^T w in them: tridiagonal.

    Attributes:
        q: the vectors that came last, (B, k).
    """

    def __init__(self, w: Tensor, start: Tensor, room: int) -> None:
        self._w = w
        self.q: Tensor = start / torch.linalg.vector_norm(start, dim=-1, keepdim=True)
        # A row for each vector.
        self._basis: Tensor = self.q.new_empty(w.shape[0], room, w.shape[-1])
        self._alphas: list[Tensor] = []
        self._betas: list[Tensor] = []
        self._next: tuple[Tensor, Tensor] | None = None

    def extend(self) -> Tensor:
        """Take one vector more into the bases; how long w^T w of it stands out of them, (B,)."""
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
        known = self._known()
        for _ in range(2):  # twice is enough (Kahan, in Parlett 1980)
            v = v - torch.bmm(known.mT, torch.bmm(known, v[..., None]))[..., 0]
        beta: Tensor = torch.linalg.vector_norm(v, dim=-1).double()
        # An exhausted Krylov space is left at zero: its noise, normalised, is not
        # orthogonal to the basis and would grow while the batch waits for others.
        exhausted = beta <= 100 * eps * torch.stack(self._alphas).amax(0)
        beta, v = beta.masked_fill(exhausted, 0.0), v.masked_fill(exhausted[:, None], 0.0)
        self._next = v, beta
        return beta

    def ritz(self) -> tuple[Tensor, Tensor]:
        """Ritz values (B, j), ascending, and vectors (B, j, j) in the bases."""
        t = torch.diag_embed(torch.stack(self._alphas, dim=-1))
        if self._betas:
            off = torch.stack(self._betas, dim=-1)
            t = t + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
        values, vectors = torch.linalg.eigh(t)
        return values, vectors

    def combination(self, ritz: Tensor) -> Tensor:
        """The vectors (B, k) that have these coordinates (B, j, 1) in the bases."""
        found: Tensor = torch.bmm(self._known().mT, ritz.to(self._w.dtype))[..., 0]
        return found

    def _known(self) -> Tensor:
        return self._basis[:, : len(self._alphas)]
