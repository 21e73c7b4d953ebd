"""Initial weights of a pack, by rejection sampling where a trial asks for it.

Source: Truong 2023, whose algorithm draws W, U and a again until the initial condition
holds; docs/theory.md, sections 1 and 3.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from deq.activations.lookup import activation
from deq.config import TrialConfig
from deq.data.dataset import Dataset
from deq.linalg.operator_norm import operator_norm
from deq.models.equilibrium import EquilibriumMap, draw, draw_pack
from deq.solvers.by_name import SOLVERS
from deq.solvers.fixed_point import solve
from deq.solvers.solution import Solved
from deq.theory.convergence import DrawnNetwork, InitialCondition, initial_condition
from deq.theory.kernels import gram

# Best slack above which more draws may help.
NEAR = 0.3

Weights = tuple[Tensor, Tensor, Tensor]


class Networks(NamedTuple):
    """Drawn networks of a pack.

    Attributes:
        w, u, a: W (B, m, m), U (B, m, d), a (B, m).
        drawn: number of networks that each trial drew.
        rejected: for each trial, why none of them was accepted; empty where one was.
    """

    w: Tensor
    u: Tensor
    a: Tensor
    drawn: list[int]
    rejected: list[str]


def starting_weights(
    configs: Sequence[TrialConfig], datasets: Sequence[Dataset], device: torch.device
) -> Weights:
    """Draw W (B, m, m), U (B, m, d), a (B, m) of trials of one shape, see `draw_networks`."""
    networks = draw_networks(configs, datasets, device)
    return networks.w, networks.u, networks.a


def starting_network(config: TrialConfig, dataset: Dataset) -> Weights:
    """Draw W (m, m), U (m, d), a (m,) of one trial on the CPU, and return them as float64."""
    w, u, a = starting_weights([config], [dataset], torch.device("cpu"))
    return w[0].double(), u[0].double(), a[0].double()


def draw_networks(
    configs: Sequence[TrialConfig], datasets: Sequence[Dataset], device: torch.device
) -> Networks:
    """Draw the networks of trials of one shape.

    A trial with `init=redraw` draws from its own seed's stream until conditions (7) to (9)
    hold at some delta, or until it has drawn `max_draws` networks; then it has the last one.
    Its result does not depend on the other trials.

    Args:
        configs: the trials.
        datasets: what each trains on.
        device: of the weights.
    """
    streams = [torch.Generator().manual_seed(config.seed) for config in configs]
    w, u, a = draw_pack(
        [c.model for c in configs],
        streams,
        datasets[0].x.shape[0],
        dtype=configs[0].torch_dtype,
        device=device,
    )
    networks = Networks(w, u, a, [1] * len(configs), [""] * len(configs))
    _redraw(configs, datasets, streams, networks)
    return networks


def _redraw(
    configs: Sequence[TrialConfig],
    datasets: Sequence[Dataset],
    streams: Sequence[torch.Generator],
    networks: Networks,
) -> None:
    """Redraw in place until the conditions of every trial with `init=redraw` hold, or it gives up.

    Args:
        configs: the trials.
        datasets: what each trains on.
        streams: each trial's random number generator.
        networks: the first network of each trial; its weights, `drawn` and `rejected` are updated.
    """
    w, u, a = networks[:3]
    waiting = [b for b, config in enumerate(configs) if config.model.init == "redraw"]
    best: dict[int, InitialCondition] = {}
    while waiting:
        parts = (w[waiting], u[waiting], a[waiting])
        own, data = [configs[b] for b in waiting], [datasets[b] for b in waiting]
        for b, condition in zip(waiting, conditions(own, data, parts), strict=True):
            if condition and (b not in best or condition.worst > best[b].worst):
                best[b] = condition
        refused = [b for b in waiting if b not in best or not best[b].held]
        waiting = [b for b in refused if networks.drawn[b] < configs[b].model.max_draws]
        for b in refused:
            if b in waiting:
                draw(configs[b].model, streams[b], w[b], u[b], a[b])
                networks.drawn[b] += 1
            else:
                networks.rejected[b] = _rejection(configs[b], best.get(b))


def conditions(
    configs: Sequence[TrialConfig], datasets: Sequence[Dataset], weights: Weights
) -> list[InitialCondition | None]:
    """Return conditions (7) to (9) of each network; None if it has no equilibrium or delta.

    This needs a forward solve and the norms, but no adjoint and no tangent kernel.
    """
    w, u, a = weights
    x = torch.stack([s.x for s in datasets]).to(w.device)
    z, exists = _equilibria(configs[0], w, torch.bmm(u, x.to(w.dtype)))
    g = gram(z)
    y = torch.stack([s.y for s in datasets]).to(w.device, w.dtype)
    e = (torch.bmm(a[:, None, :], z)[:, 0, :] - y).double()
    norm_w, norm_u = operator_norm(w).tolist(), operator_norm(u).tolist()
    results: list[InitialCondition | None] = []
    for b, config in enumerate(configs):
        network = DrawnNetwork(
            gram=g[b].cpu(),
            error=e[b].cpu(),
            norm_w=norm_w[b],
            norm_u=norm_u[b],
            norm_a=float(torch.linalg.vector_norm(a[b].double())),
            norm_x=float(torch.linalg.vector_norm(x[b])),
        )
        results.append(initial_condition(network, config.model) if exists[b] else None)
    return results


def _equilibria(config: TrialConfig, w: Tensor, p: Tensor) -> tuple[Tensor, list[bool]]:
    """Solve for Z (B, m, n) from a cold start, p = U X; also return which trials have one."""
    phi, solver, rows = activation(config.model.activation), config.solver, p.mT.contiguous()
    solution = solve(
        EquilibriumMap(phi, w, rows),
        rows.clone(),
        (torch.empty_like(rows), torch.empty_like(rows)),
        tol=torch.full((len(w),), solver.tol, dtype=torch.float64, device=w.device),
        max_steps=solver.max_steps,
        step=SOLVERS[solver.name](),
    )
    exists = [solved is Solved.CONVERGED for solved in solution.solved]
    return phi.function(solution.value).mT, exists


def _rejection(config: TrialConfig, best: InitialCondition | None) -> str:
    model = config.model
    tries = f"model.init=redraw: none of {model.max_draws} networks of seed {config.seed}"
    if best is None:
        return f"{tries} had an equilibrium with L ||W||_2 < 1: lower model.sigma_w2"
    slacks = {"(7)": best.slack_7, "(8)": best.slack_8, "(9)": best.slack_9}
    values = ", ".join(f"{name} {slack:.2g}" for name, slack in slacks.items())
    more = "raise model.max_draws or, more reliably, " if best.worst > NEAR else ""
    return (
        f"{tries} met conditions (7) to (9), which need slacks of at least 1; the best had "
        f"{values}: {more}lower model.sigma_a and model.sigma_w2, raise model.width, take fewer "
        "samples or smaller targets, or choose model.init=gaussian"
    )
