"""The weights a pack starts from: the first network drawn, or the first the theorem accepts.

Source: Truong 2023, whose algorithm draws W, U and a again until the initial condition
holds; docs/theory.md, sections 1 and 3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from deq.config import TrialConfig
from deq.data.dataset import Dataset
from deq.linalg.operator_norm import operator_norm
from deq.models.activations import activation
from deq.models.equilibrium import EquilibriumMap, draw, draw_pack
from deq.solvers.by_name import SOLVERS
from deq.solvers.fixed_point import Solved, solve
from deq.theory.convergence import Drawn, InitialCondition, initial_condition
from deq.theory.kernels import gram

# A best slack above this may be passed by drawing more often.
NEAR = 0.3

Weights = tuple[Tensor, Tensor, Tensor]


def starting_weights(
    configs: Sequence[TrialConfig], datasets: Sequence[Dataset], device: torch.device
) -> Weights:
    """W (B, m, m), U (B, m, d), a (B, m) of trials of one shape.

    A trial with `init=redraw` draws on from its own seed's stream until conditions (7)
    to (9) hold at some delta. Only the trials still waiting draw again, and what one of
    them gets does not depend on the others.

    Raises:
        ValueError: a trial's condition held for none of its `max_draws` networks.
    """
    streams = [torch.Generator().manual_seed(config.seed) for config in configs]
    w, u, a = draw_pack(
        [c.model for c in configs],
        streams,
        datasets[0].x.shape[0],
        dtype=configs[0].torch_dtype,
        device=device,
    )
    waiting = [b for b, config in enumerate(configs) if config.model.init == "redraw"]
    best: dict[int, InitialCondition] = {}
    drawn = 1
    while waiting:
        parts = (w[waiting], u[waiting], a[waiting])
        found = conditions([configs[b] for b in waiting], [datasets[b] for b in waiting], parts)
        for b, condition in zip(waiting, found, strict=True):
            if condition and (b not in best or condition.worst > best[b].worst):
                best[b] = condition
        waiting = [b for b in waiting if b not in best or not best[b].held]
        for b in waiting:
            if drawn >= configs[b].model.max_draws:
                raise ValueError(_gave_up(configs[b], best.get(b)))
            draw(configs[b].model, streams[b], w[b], u[b], a[b])
        drawn += 1
    return w, u, a


def conditions(
    configs: Sequence[TrialConfig], datasets: Sequence[Dataset], weights: Weights
) -> list[InitialCondition | None]:
    """Conditions (7) to (9) of each drawn network; None where it has no equilibrium or delta.

    It costs a forward solve and the norms: neither adjoint nor tangent kernel is needed.
    """
    w, u, a = weights
    x = torch.stack([s.x for s in datasets]).to(w.device)
    z, exists = _equilibria(configs[0], w, torch.bmm(u, x.to(w.dtype)))
    g = gram(z)
    y = torch.stack([s.y for s in datasets]).to(w.device, w.dtype)
    e = (torch.bmm(a[:, None, :], z)[:, 0, :] - y).double()
    norm_w, norm_u = operator_norm(w).tolist(), operator_norm(u).tolist()
    found: list[InitialCondition | None] = []
    for b, config in enumerate(configs):
        drawn = Drawn(
            gram=g[b].cpu(),
            error=e[b].cpu(),
            norm_w=norm_w[b],
            norm_u=norm_u[b],
            norm_a=float(torch.linalg.vector_norm(a[b].double())),
            norm_x=float(torch.linalg.vector_norm(x[b])),
        )
        found.append(initial_condition(drawn, config.model) if exists[b] else None)
    return found


def _equilibria(config: TrialConfig, w: Tensor, p: Tensor) -> tuple[Tensor, list[bool]]:
    """Z (B, m, n) from a cold start, P = U X; and for each trial whether it was reached."""
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


def _gave_up(config: TrialConfig, best: InitialCondition | None) -> str:
    model = config.model
    tries = f"model.init=redraw: none of {model.max_draws} networks of seed {config.seed}"
    if best is None:
        return f"{tries} had an equilibrium with L ||W||_2 < 1: lower model.sigma_w2"
    slacks = {"(7)": best.slack_7, "(8)": best.slack_8, "(9)": best.slack_9}
    seen = ", ".join(f"{name} {slack:.2g}" for name, slack in slacks.items())
    more = "raise model.max_draws or, further from luck, " if best.worst > NEAR else ""
    return (
        f"{tries} met conditions (7) to (9), which need slacks of at least 1; the best had {seen}: "
        f"{more}lower model.sigma_a and model.sigma_w2, raise model.width, take fewer samples "
        "or smaller targets, or choose model.init=gaussian"
    )
