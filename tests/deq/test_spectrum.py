"""Operator norms and least eigenvalues compared with full decompositions."""

import pytest
import torch
from networks import random

from deq.linalg.eigenvalues import LeastEigenvalue
from deq.linalg.operator_norm import OperatorNorm, operator_norm


def positive(values, seed=0):
    """A matrix with these eigenvalues."""
    n = len(values)
    q = torch.linalg.qr(random(n, n, seed=seed)).Q
    return q @ torch.diag(torch.as_tensor(values, dtype=torch.float64)) @ q.T


@pytest.fixture
def iterated(monkeypatch):
    """Small matrices are not decomposed in full, so that a test needs no large ones."""
    monkeypatch.setattr(LeastEigenvalue, "SMALL", 0)


@pytest.mark.usefixtures("iterated")
def test_least_eigenvalues_of_matrices_that_change():
    """A hundred slow changes of a Gram matrix; relative 1e-6, as stated."""
    z, least = random(2, 60, 30), LeastEigenvalue()
    for t in range(100):
        z = z + 0.03 * random(2, 60, 30, seed=t + 1)
        gram = z.mT @ z
        exact = torch.linalg.eigvalsh(gram)[:, 0]
        torch.testing.assert_close(least(gram), exact, rtol=1e-6, atol=0)


@pytest.mark.usefixtures("iterated")
@pytest.mark.parametrize("ratio", [1e-3, 1e-9, 1e-13])
def test_a_wrong_start_vector_is_detected(ratio):
    """The start vectors are wrong; the certificate detects it."""
    least, n = LeastEigenvalue(), 20
    first = torch.diag(torch.linspace(1.0, 2.0, n, dtype=torch.float64))[None]
    least(first)
    second = first.clone()
    second[0, n - 1, n - 1] = ratio
    assert float(least(second)[0]) == pytest.approx(ratio, rel=1e-2)


@pytest.mark.usefixtures("iterated")
def test_least_eigenvalue_of_a_singular_matrix():
    least = LeastEigenvalue()
    for seed in range(3):
        a = positive([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], seed=seed)[None]
        assert float(least(a)[0]) == pytest.approx(0.0, abs=1e-14)


def test_small_matrices_are_decomposed_in_full():
    """Eigenvalues that inverse iteration from a wrong start would miss, exact to rounding."""
    least = LeastEigenvalue()
    for values in ([3.0, 2.0, 1.0], [1.0, 1e-9, 5.0]):
        a = positive(values)[None]
        assert float(least(a)[0]) == pytest.approx(min(values), rel=0, abs=1e-14)


def test_operator_norms_of_matrices_that_change():
    """Relative 1e-6, as stated, through forty changes; also of W = 0 that grows."""
    w, norm = random(3, 80, 80) / 80**0.5, OperatorNorm()
    w[2] = 0.0
    for t in range(40):
        w = w + 0.01 * random(3, 80, 1, seed=t) @ random(3, 1, 80, seed=100 + t) / 80
        exact = torch.linalg.matrix_norm(w, ord=2)
        torch.testing.assert_close(norm(w), exact, rtol=1e-6, atol=0)


def test_a_cold_start_finds_a_norm_that_a_warm_start_misses():
    """The start is the exact second singular vector, so its Krylov space is exhausted."""
    norm, w = OperatorNorm(), torch.diag(torch.linspace(0.5, 1.0, 40, dtype=torch.float64))[None]
    norm(w)
    norm._vector = torch.eye(40, dtype=torch.float64)[None, 38]
    result = [float(norm(w)[0]) for _ in range(OperatorNorm.FULL)]
    assert result[0] == pytest.approx(float(w[0, 38, 38]), rel=1e-12)
    assert result[-1] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.usefixtures("iterated")
def test_matrices_of_a_batch_are_independent():
    """A matrix's numbers are the same alone and in a batch, to rounding."""
    z = random(3, 50, 12)
    batch, alone = LeastEigenvalue(), LeastEigenvalue()
    norms, norm = OperatorNorm(), OperatorNorm()
    for t in range(5):
        z = z + 0.01 * random(3, 50, 12, seed=t + 1)
        gram = z.mT @ z
        torch.testing.assert_close(batch(gram)[1], alone(gram[1:2])[0], rtol=1e-12, atol=0)
        torch.testing.assert_close(norms(z)[1], norm(z[1:2])[0], rtol=1e-12, atol=0)
    assert float(batch.subset([1])(gram[1:2])[0]) == pytest.approx(float(batch(gram)[1]), rel=1e-12)


@pytest.mark.parametrize(
    ("batch", "rows", "columns"), [(1, 7, 7), (3, 40, 11), (2, 5, 1), (2, 80, 80)]
)
def test_operator_norm(batch, rows, columns):
    w = random(batch, rows, columns, seed=2)
    exact = torch.linalg.matrix_norm(w, ord=2)
    torch.testing.assert_close(operator_norm(w), exact, rtol=1e-9, atol=0)


def test_operator_norm_of_ranks_mixed_in_one_batch():
    """Matrices whose Krylov space is exhausted early; relative 1e-9."""
    w = random(4, 60, 60)
    w[0] = torch.outer(w[0, 0], w[0, 1])
    w[1] = 0.0
    w[2] = torch.eye(60)
    exact = torch.linalg.matrix_norm(w, ord=2)
    torch.testing.assert_close(operator_norm(w), exact, rtol=1e-9, atol=0)
