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
    batch, _, k = w.shape
    start = torch.randn(k, dtype=w.dtype, generator=torch.Generator().manual_seed(0))
    q = (start / torch.linalg.vector_norm(start)).to(w.device).expand(batch, k).clone()
    basis = [q]
    alphas: list[Tensor] = []
    betas: list[Tensor] = []
    theta = torch.zeros(batch, dtype=torch.float64, device=w.device)
    eps = torch.finfo(w.dtype).eps
    for j in range(1, min(k, max_steps) + 1):
        v = torch.bmm(w.mT, torch.bmm(w, q[..., None]))[..., 0]
        alphas.append((q * v).sum(-1).double())
        stacked = torch.stack(basis, dim=-1)
        for _ in range(2):  # twice is enough (Kahan, in Parlett 1980)
            v = v - torch.bmm(stacked, torch.bmm(stacked.mT, v[..., None]))[..., 0]
        beta = torch.linalg.vector_norm(v, dim=-1).double()
        # An exhausted Krylov space is left at zero: its noise, normalised, is not
        # orthogonal to the basis and would grow while the batch waits for others.
        exhausted = beta <= 100 * eps * torch.stack(alphas).amax(0)
        beta, v = beta.masked_fill(exhausted, 0.0), v.masked_fill(exhausted[:, None], 0.0)
        if j % 5 == 0 or j == k:
            theta, tail = _ritz(alphas, betas)
            if bool((beta * tail.abs() <= tol * theta).all()):
                break
        betas.append(beta)
        q = v / beta.clamp_min(torch.finfo(w.dtype).tiny)[:, None].to(w.dtype)
        basis.append(q)
    else:
        theta, _ = _ritz(alphas, betas[: len(alphas) - 1])
    return theta.clamp_min(0.0).sqrt()


def _ritz(alphas: list[Tensor], betas: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Greatest Ritz value (B,) and the last entry of its eigenvector (B,)."""
    diagonal = torch.stack(alphas, dim=-1)
    t = torch.diag_embed(diagonal)
    if betas:
        off = torch.stack(betas, dim=-1)
        t = t + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
    values, vectors = torch.linalg.eigh(t)
    return values[..., -1], vectors[..., -1, -1]
