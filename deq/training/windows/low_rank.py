"""Weights inside a window: the weights of its start plus low-rank terms.

With Z and R polynomials in time through the nodes, the weights at a step s are exactly

    W(s) = W - eta sum_jk R_j diag(c_jk) Z_k^T
    P(s) = P - eta sum_j R_j diag(b_j) X^T X
    a(s) = a - eta sum_k Z_k b_k,

c and b the moments of e up to s. A map of an equilibrium or an adjoint with them is one
product with W and some thin ones. W(s) itself is formed only by `apply`.
Samples are rows: Z, R and P are (n, m). A states at A different steps are mapped together,
each with the weights of its step.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from deq.activations.activation import Activation


@dataclass
class Work:
    """Number of products so far.

    Attributes:
        large: products of (m, m) with (m, n).
        thin: products of (n, n) with (n, m).
    """

    large: float = 0.0
    thin: float = 0.0

    def total(self, n: int, m: int) -> float:
        """Return all products, a thin one counted n / m."""
        return self.large + self.thin * n / m


@dataclass(frozen=True)
class Network:
    """Weights of a trial at the start of a window, and the data and constants of the trial.

    Attributes:
        w: (m, m) W.
        p: (n, m) P = U X.
        a: (m,) output weights.
        xx: (n, n) X^T X, float64 on the CPU.
        y: (n,) labels, float64 on the CPU.
        eta: the step size.
        phi: the activation.
        work: counter of products.
    """

    w: Tensor
    p: Tensor
    a: Tensor
    xx: Tensor
    y: Tensor
    eta: float
    phi: Activation
    work: Work = field(default_factory=Work)

    def total(self) -> float:
        """Return the number of products so far, thin ones counted n / m."""
        return self.work.total(*self.p.shape)


@dataclass(frozen=True)
class Jumps:
    """Terms that monitored entries add to the weights at A steps (see `monitored`).

        W(s) -= eta sum_i g_i (sum_k c_ki Z_k at b_i)^T,  P(s) -= eta sum_i g_i b_i X_(b_i)^T X

    Attributes:
        g: (M, m) responses of the entries.
        sample: (M,) on the CPU, b_i, the sample of each entry.
        c: (A, L, M) float64 on the CPU, sums over the steps of F_k nu_i e_(b_i).
        b: (A, M) float64 on the CPU, sums over the steps of nu_i e_(b_i).
    """

    g: Tensor
    sample: Tensor
    c: Tensor
    b: Tensor

    def inner(self, r: Tensor, work: Work) -> Tensor:
        """Return g_i . r of states r (A, n, m); (A, M, n) float64 on the CPU."""
        work.thin += len(r) * len(self.g) / r.shape[1]
        return (self.g.double() @ r.double().mT).cpu()


@dataclass(frozen=True)
class Terms:
    """Low-rank terms of the weights at A steps.

    Attributes:
        z, r: (L, n, m) phi(q) and phi'(q) * v at the nodes.
        c: (A, L, L, n) float64 on the CPU, moments of e (see `moments`).
        b: (A, L, n) float64 on the CPU, moments of e.
        jumps: terms of monitored entries; None without a kink.
    """

    z: Tensor
    r: Tensor
    c: Tensor
    b: Tensor
    jumps: Jumps | None = None

    def with_step(self, z: Tensor, r: Tensor, e: Tensor) -> "Terms":
        """Return the terms one GD step later; the step's state becomes a further node.

        Args:
            z: (n, m) phi(q) at the step of these terms, of which there must be one (A = 1).
            r: (n, m) phi'(q) * v there.
            e: (n,) float64, the error there.
        """
        count, n = self.b.shape[1:]
        c = self.c.new_zeros(1, count + 1, count + 1, n)
        c[:, :-1, :-1], c[:, -1, -1] = self.c, e
        b = torch.cat([self.b, e[None, None]], dim=1)
        jumps = self.jumps
        if jumps is not None:
            jumps = replace(jumps, c=functional.pad(jumps.c, (0, 0, 0, 1)))
        return Terms(torch.cat([self.z, z[None]]), torch.cat([self.r, r[None]]), c, b, jumps)


def no_terms(network: Network) -> Terms:
    """Return terms that change nothing: the weights are the network's own; A = 1."""
    n, none = network.p.shape[0], network.p.new_empty(0, *network.p.shape)
    return Terms(none, none, network.y.new_empty(1, 0, 0, n), network.y.new_empty(1, 0, n))


def output_weights(network: Network, terms: Terms) -> Tensor:
    """Return the output weights a at the A steps; (A, m) float64."""
    b, z = terms.b.flatten(1).to(terms.z.device), terms.z.flatten(0, 1).double()
    return network.a.double() - network.eta * (b @ z)


def preactivations(network: Network, terms: Terms, z: Tensor, zz: Tensor) -> Tensor:
    """Return W(s) z + P(s) of A states; (A, n, m).

    Args:
        network: the weights at the window's start.
        terms: at the steps of the states.
        z: (A, n, m) phi of the states.
        zz: (L, A, n, n) float64, inner products of the nodes' Z with z.
    """
    coefficients = terms.b[..., None] * network.xx
    for k in range(len(zz)):
        coefficients.addcmul_(terms.c[:, :, k, ..., None], zz[k][:, None])
    image = torch.add(network.p, z @ network.w.mT)
    if terms.jumps is not None:
        image = _minus_jumps(network, image, terms.jumps, zz)
    return _minus(network, image, coefficients, terms.r)


def adjoints(
    network: Network, terms: Terms, r: Tensor, rr: Tensor, a: Tensor, gr: Tensor | None = None
) -> Tensor:
    """Return a(s) + W(s)^T r of A states; (A, n, m).

    Args:
        network: the weights at the window's start.
        terms: at the steps of the states.
        r: (A, n, m) phi' times the states.
        rr: (L, A, n, n) float64, inner products of the nodes' R with r.
        a: (A, m) a(s).
        gr: (A, M, n) float64, inner products of the jumps' g with r.
    """
    coefficients = terms.b.new_zeros(*terms.b.shape, terms.b.shape[-1])
    for j in range(len(rr)):
        coefficients.addcmul_(terms.c[:, j, ..., None], rr[j][:, None])
    if terms.jumps is not None and gr is not None:
        part = terms.jumps.c[..., None] * gr[:, None]
        coefficients.index_add_(2, terms.jumps.sample, part)
    image = torch.add(a[:, None, :].to(r.dtype), r @ network.w)
    return _minus(network, image, coefficients, terms.z)


def _minus(network: Network, image: Tensor, coefficients: Tensor, nodes: Tensor) -> Tensor:
    """Return image - eta sum_j coefficients_j^T nodes_j; (A, n, m), (A, L, n, n), (L, n, m)."""
    states, count, n, _ = coefficients.shape
    network.work.large += states
    network.work.thin += states * count
    flat = coefficients.permute(0, 3, 1, 2).reshape(states * n, count * n).to(image)
    change = nodes.flatten(0, 1)
    return torch.addmm(image.flatten(0, 1), flat, change, alpha=-network.eta).view_as(image)


def _minus_jumps(network: Network, image: Tensor, jumps: Jumps, zz: Tensor) -> Tensor:
    """Return image (A, n, m) less the product of the jumps' part of W and P with the states."""
    coefficients = jumps.b[..., None] * network.xx[jumps.sample]
    for k in range(len(zz)):
        coefficients.addcmul_(jumps.c[:, k, :, None], zz[k][:, jumps.sample])
    network.work.thin += len(image) * len(jumps.sample) / len(network.p)
    return image - network.eta * (coefficients.mT.to(image) @ jumps.g)


def measured_error(network: Network, z: Tensor, r: Tensor, change: Tensor, a: Tensor) -> Tensor:
    """Return e of A states, corrected by their residuals; (A, n) float64 on the CPU.

    With the correction the error of e is of second order: the error of the pre-activations
    times that of the adjoints.

    Args:
        network: holds the labels y.
        z: (A, n, m) phi of the states.
        r: (A, n, m) phi' times the adjoints V of the states.
        change: (A, n, m) residuals: image of the pre-activations less the pre-activations.
        a: (A, m) float64, output weights at the steps.
    """
    first = (z.double() @ a[:, :, None])[..., 0]
    return (first + (r * change).double().sum(-1)).cpu() - network.y


def apply(network: Network, terms: Terms) -> None:
    """Move the network's weights to those at the one step of the terms, in place."""
    c, b = terms.c[0], terms.b[0]
    device, dtype = terms.z.device, terms.z.dtype
    change = (network.eta * c)[..., None].to(device, dtype)
    right = torch.stack([(row * terms.z).sum(0) for row in change])
    network.a.copy_(output_weights(network, terms)[0])
    network.w.addmm_(terms.r.flatten(0, 1).mT, right.flatten(0, 1), alpha=-1)
    moved = ((network.eta * b)[..., None].to(device, dtype) * terms.r).sum(0)
    if terms.jumps is not None:
        moved += _apply_jumps(network, terms, terms.jumps)
    network.p.addmm_(network.xx.to(device, dtype), moved, alpha=-1)
    network.work.large += len(right)
    network.work.thin += 1


def _apply_jumps(network: Network, terms: Terms, jumps: Jumps) -> Tensor:
    """Move W by the jumps, in place; return what they add to P's change, (n, m)."""
    device, dtype, sample = terms.z.device, terms.z.dtype, jumps.sample.to(terms.z.device)
    c, b = ((network.eta * x[0]).to(device, dtype) for x in (jumps.c, jumps.b))
    right = torch.zeros_like(jumps.g)
    for k in range(len(terms.z)):
        right += c[k][:, None] * terms.z[k][sample]
    network.w.addmm_(jumps.g.mT, right, alpha=-1)
    network.work.large += len(sample) / len(network.p)
    return torch.zeros_like(terms.z[0]).index_add_(0, sample, b[:, None] * jumps.g)
