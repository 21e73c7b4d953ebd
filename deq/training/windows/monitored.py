"""Monitored entries of a window, and the response of all adjoints to a change of their slopes.

With the mask D0 of the window's start, an adjoint with other slopes d at the entries i is

    V = V0 + sum_i nu_i r_i,  R = R0 + sum_i nu_i g_i,  nu_i = (d_i - D0_i) V_i,
    g_i = (I - D0 W^T)^-1 e_i,  r_i = W^T g_i,

where V0 and R0 = D0 * V0 are smooth in time. Entry i belongs to one sample, b_i.
"""

import torch
from torch import Tensor

from deq.training.windows.low_rank import Network

# Relative change of g under a map at which it counts as solved.
RESPONSE = 2e-3
# Maps of g, at most.
MOST_MAPS = 60


class Monitored:
    """M entries that are followed one GD step at a time.

    Attributes:
        mask: (n, m) D0, slopes at the window's start.
        sample, unit: (M,) on the CPU, sample and neuron of each entry.
        g, r: (M, m) responses g_i and r_i to each entry.
        gg: (M, M) float64 on the CPU, inner products of g.
        coupling: (M, M) float64 on the CPU, r_j at entry i of the same sample, at [i, j].
    """

    def __init__(self, network: Network, mask: Tensor) -> None:
        self._network, self.mask = network, mask
        self.sample = self.unit = torch.zeros(0, dtype=torch.long)
        self.g = self.r = mask.new_zeros(0, mask.shape[1])
        self.gg = self.coupling = torch.zeros(0, 0, dtype=torch.float64)

    def __len__(self) -> int:
        return len(self.sample)

    def at(self, x: Tensor) -> Tensor:
        """Return the values of x (..., n, m) at the entries; (..., M)."""
        return x[..., self.sample.to(x.device), self.unit.to(x.device)]

    def add(self, sample: Tensor, unit: Tensor) -> None:
        """Monitor more entries; those that are monitored already are left out.

        Args:
            sample: (k,) samples of the entries.
            unit: (k,) neurons of the entries.
        """
        width = self.mask.shape[1]
        known = self.sample * width + self.unit
        new = torch.unique(sample.cpu() * width + unit.cpu())
        new = new[~torch.isin(new, known)]
        if not len(new):
            return
        sample, unit = new // width, new % width
        g, r = self._responses(sample, unit)
        cross = (self.g.double() @ g.double().mT).cpu()
        own = (g.double() @ g.double().mT).cpu()
        self.gg = torch.cat([torch.cat([self.gg, cross], 1), torch.cat([cross.mT, own], 1)])
        self.sample, self.unit = torch.cat([self.sample, sample]), torch.cat([self.unit, unit])
        self.g, self.r = torch.cat([self.g, g]), torch.cat([self.r, r])
        same = self.sample[:, None] == self.sample[None, :]
        at_units = self.r[:, self.unit.to(self.r.device)].double().cpu().mT
        self.coupling = torch.where(same, at_units, 0.0)
        self._network.work.thin += len(new) * (len(known) + len(new) / 2) / len(self.mask) ** 2

    def inner(self, r: Tensor) -> Tensor:
        """Return g_i . r of states r (A, n, m); (A, M, n) float64 on the CPU."""
        products = [(self.g.double() @ x.double().mT).cpu() for x in r]
        self._network.work.thin += len(r) * len(self) / len(self.mask)
        return torch.stack(products)

    def added(self, x: Tensor, nu: Tensor, responses: Tensor) -> Tensor:
        """Return x + sum_i nu_i responses_i; (A, n, m).

        Args:
            x: (A, n, m) values with the mask's slopes.
            nu: (A, M) jumps of the entries.
            responses: (M, m), g or r.
        """
        change = nu.to(x)[..., None] * responses
        return x.index_add(1, self.sample.to(x.device), change)

    def nu(self, slopes: Tensor, v0: Tensor) -> Tensor:
        """Return the jumps nu of the entries; (..., M) float64.

        Args:
            slopes: (..., M) slopes of the entries.
            v0: (..., M) V0 at the entries.
        """
        change = slopes - self.at(self.mask).double().cpu()
        nu = change * v0
        for _ in range(4):
            nu = change * (v0 + nu @ self.coupling.mT)
        return nu

    def _responses(self, sample: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
        mask, device = self.mask[sample.to(self.mask.device)], self.mask.device
        unit_vectors = mask.new_zeros(len(sample), mask.shape[1])
        unit_vectors[torch.arange(len(sample), device=device), unit.to(device)] = 1
        g = unit_vectors
        for _ in range(MOST_MAPS):
            self._network.work.large += len(sample) / len(self.mask)
            r = g @ self._network.w
            before, g = g, unit_vectors + mask * r
            if float(((g - before).norm(dim=1) / g.norm(dim=1)).max()) < RESPONSE:
                break
        return g, r
