"""Networks of finite depth beside the equilibrium, for composed trials: table, JSON, figure."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import deq
from deq.config import MOST_LAYERS
from sweeps.config.request import Request, trial_from_plain
from sweeps.config.texts import one_line
from sweeps.driver.terminal import Terminal
from sweeps.errors import ConfigError
from sweeps.planning.outcomes import format_number
from sweeps.planning.plan import PlannedTrial, trials_of

HEADER = ["trial", "factor", "L ||W||_2", "factor of K", "its bound", "half", "within 1 %"]

Depths = Sequence[tuple[PlannedTrial, deq.FiniteDepth]]


def depths(request: Request, depth: int) -> Iterator[tuple[PlannedTrial, deq.FiniteDepth]]:
    """Compare each trial's network with networks of depth 1 to `depth`; nothing is trained.

    Raises:
        ConfigError: the depth is not in 1 .. MOST_LAYERS, or a trial has no
            equilibrium or no limit.
    """
    if not 1 <= depth <= MOST_LAYERS:
        raise ConfigError(f"--depth={depth}: give a number of layers in 1 .. {MOST_LAYERS}")
    deq.set_threads(request.launch.cluster.cpus_per_trial)
    return ((planned, _depth(planned, depth)) for planned in trials_of(request))


def _depth(planned: PlannedTrial, depth: int) -> deq.FiniteDepth:
    try:
        return deq.finite_depth(trial_from_plain(planned.plain), depth)
    except ValueError as error:
        raise ConfigError(f"{planned.name}: {error}") from error


def to_json(trials: Depths) -> str:
    """All numbers as JSON."""
    rows = [
        {"config_hash": planned.config_hash, "trial": planned.name}
        | asdict(result)
        | {name: getattr(result, name) for name in ("factor", "factor_limit")}
        | {name: getattr(result, name) for name in ("cut_half", "cut_close")}
        for planned, result in trials
    ]
    return json.dumps({"trials": rows}, indent=2, allow_nan=False)


def show(trials: Depths, terminal: Terminal) -> None:
    """Print a table: geometric factors, and depths at which the equilibrium may be cut."""
    terminal.say(
        "Factor per layer of ||G^(l) - G||_F and of ||K^(l) - K||_F with its bound, and the depth "
        "from which lambda_min(G^(l)) is above lambda_0 / 2, and within 1 % of lambda_0"
    )
    rows = [
        [
            planned.name,
            format_number(result.factor),
            format_number(result.contraction),
            format_number(result.factor_limit),
            format_number(result.contraction_limit),
            *(_depth_text(cut, len(result.least)) for cut in (result.cut_half, result.cut_close)),
        ]
        for planned, result in trials
    ]
    terminal.table(HEADER, rows, left=1)


def write_figure(trials: Depths, path: Path) -> None:
    """Write the figure, PNG.

    Raises:
        ConfigError: it cannot be written.
    """
    from sweeps.reports.figures import depth  # imports matplotlib

    png = depth.draw([(planned.name, result) for planned, result in trials])
    try:
        path.write_bytes(png)
    except OSError as error:
        raise ConfigError(f"--figure={path}: {one_line(error)}") from error


def _depth_text(cut: int | None, most: int) -> str:
    return f"over {most}" if cut is None else str(cut)
