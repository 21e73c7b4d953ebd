"""One GD step of trials that are solved together, with the row that each trial records."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from deq.solvers.solution import Solution, Solved
from deq.theory.convergence import Initial
from deq.training import held_out
from deq.training.batches import batch_weights
from deq.training.diagnostics import Diagnostics, Spectra
from deq.training.distance import distance
from deq.training.lookahead import Lookahead
from deq.training.pack import Pack, half_square
from deq.training.state import State, load_state_dict
from deq.training.step_size import step_size
from deq.training.training_run import Row, Status, TrainingRun, blank_row
from deq.training.weights import Weights, input_weights


class Group:
    """Trials that are solved together: their runs, numerics and spectra."""

    STATE: tuple[str, ...] = ("pack", "diagnostics", "lookahead")

    def __init__(self, runs: list[TrainingRun], pack: Pack) -> None:
        self.runs, self.pack = runs, pack
        self.diagnostics = Diagnostics(_first_tangents(runs, pack.eta.device), pack.steps)
        self.lookahead = Lookahead(pack)

    @classmethod
    def restored(cls, runs: list[TrainingRun], state: State) -> "Group":
        """Rebuild a group from its state and the runs of the whole descent."""
        own = [runs[k] for k in state["runs"]]
        d = own[0].dataset.x.shape[0]
        group = cls(own, Pack.restored(own[0].config, d, state["pack"]))
        load_state_dict(group.diagnostics, state["diagnostics"])
        load_state_dict(group.lookahead, state["lookahead"])
        return group

    def advance(self, step: int) -> None:
        """Measure at `step`, end the trials that are done, take one GD step with the rest."""
        self.measure(step)
        if self.runs:
            self.pack.batch_weights = _batch_weights(self.runs, step, self.pack.e)
            self.lookahead.descend()

    def measure(self, step: int) -> None:
        """Measure at `step` and end the trials that are done.

        A trial leaves the pack as soon as it has ended; at step 0 those whose networks were
        all rejected do.
        """
        if not self.keep_training():
            return
        rows = [blank_row(step) for _ in self.runs]
        solved = self.lookahead.step()
        if solved is None:
            rows = self._solve(rows)
        else:
            _fill_solution(rows, "forward", solved.forward)
            _fill_solution(rows, "adjoint", solved.adjoint)
            _fill(rows, flipped=solved.flipped, loss=solved.loss)
        thin = self.pack.thin_products
        for run, row in zip(self.runs, rows, strict=True):
            row["products"] = row["forward_steps"] + row["adjoint_steps"] + 1
            run.products += row["products"] + thin
            row["rounding"] = torch.finfo(self.pack.e.dtype).eps
            run.rows.append(row)
            run.check_stop()
        self.keep(lambda run: run.status is not Status.DIVERGED)
        self._measure_spectra(step)
        self.keep_training()

    def weights(self, place: int) -> Weights:
        """Return the current weights of the trial at this place."""
        run = self.runs[place]
        return self.pack.weights(place, run.config, run.dataset)

    def split_off_float64(self) -> list["Group"]:
        """Take the trials out that continue in float64; return a group for each."""
        leaving = self.pack.needs_float64()
        groups = [Group([self.runs[k]], self.pack.in_float64(k)) for k in leaving]
        runs = [self.runs[k] for k in leaving]
        self.keep(lambda run: all(run is not other for other in runs))
        return groups

    def keep_training(self) -> list[int]:
        """Keep the trials that have not ended; return their former places."""
        return self.keep(lambda run: run.status is None)

    def keep(self, stays: Callable[[TrainingRun], bool]) -> list[int]:
        """Keep the trials for which `stays` is true; return their former places."""
        places = [k for k, run in enumerate(self.runs) if stays(run)]
        for k, run in enumerate(self.runs):
            if k not in places and run.status is not None:
                self._set_last(k, run)
        if len(places) < len(self.runs):
            self.runs = [self.runs[k] for k in places]
            self.diagnostics = self.diagnostics.subset(places)
            self.pack.select(places)
        return places

    def _set_last(self, k: int, run: TrainingRun) -> None:
        """Set what a trial that ends reads of its weights; a rejected network has none."""
        if run.status is Status.REJECTED:
            return
        pack = self.pack
        if run.keep_weights:
            run.weights = pack.weights(k, run.config, run.dataset)
        distances = distance(run.config, run.dataset, pack.w[k], pack.p[k], pack.a[k])
        for name, number in distances._asdict().items():
            setattr(run, name, number)
        if run.dataset.test is not None and run.initial is not None:
            run.held_out |= held_out.end(run.config, run.dataset, self._shared(k))

    def _shared(self, k: int) -> Weights:
        """Return trial k's weights, W and a without a copy on a CPU."""
        pack, run = self.pack, self.runs[k]
        u = input_weights(run.config, run.dataset, pack.p[k])
        return Weights(pack.w[k].cpu(), u, pack.a[k].cpu())

    def _solve(self, rows: list[Row]) -> list[Row]:
        """Solve for equilibria and adjoints; return the rows of the trials that have both."""
        pack = self.pack
        forward = pack.solve_equilibria()
        _fill_solution(rows, "forward", forward)
        rows = self._end_unsolved("the equilibrium", forward, rows)
        if not rows:
            return []
        adjoint = pack.solve_adjoints()
        _fill_solution(rows, "adjoint", adjoint)
        _fill(rows, flipped=pack.flipped.tolist())
        rows = self._end_unsolved("the adjoint", adjoint, rows)
        _fill(rows, loss=half_square(pack.e).tolist())
        self.lookahead.record(forward, adjoint)
        return rows

    def _end_unsolved(self, which: str, solution: Solution, rows: list[Row]) -> list[Row]:
        """End the trials whose fixed point was not reached; return the rows of the others.

        A solve may end at the precision's floor, above a tolerance tightened for a small
        loss but within the one asked for: this is as good as the dtype gives.
        """
        ends = zip(self.runs, solution.solved, solution.residual, strict=True)
        for run, solved, residual in ends:
            good = solved is Solved.STAGNATED and residual <= run.config.solver.tol
            if solved is not Solved.CONVERGED and not good:
                run.end_unsolved(solved, which)
        return [rows[k] for k in self.keep_training()]

    def _measure_spectra(self, step: int) -> None:
        """Measure the spectra at the cadence and of trials that end.

        Whether a trial is measured depends on its own cadence and last step only, so that
        a trajectory does not depend on the pack.
        """
        ended = [k for k, run in enumerate(self.runs) if run.status is not None]
        if self.runs and step % self.runs[0].config.diagnostics.every == 0:
            measured, spectra = self.runs, self.diagnostics.measure(self.pack)
            self.pack.update_norm(spectra.norm_w)
        elif ended:
            measured = [self.runs[k] for k in ended]
            spectra = self.diagnostics.measure_last(self.pack, ended)
        else:
            return
        if step == 0:
            self._set_initial(spectra)
        for run, values in zip(measured, spectra.rows(), strict=True):
            run.rows[-1] |= values

    def _set_initial(self, spectra: Spectra) -> None:
        """Set what the theory reads at t = 0, and the step sizes."""
        for k, run in enumerate(self.runs):
            run.initial = Initial(
                gram=spectra.gram[k].cpu(),
                tangent=spectra.tangent[k].cpu(),
                error=spectra.e[k].cpu(),
                norm_w=float(spectra.norm_w[k]),
                norm_u=self.pack.norm_u[k],
                norm_a=float(torch.linalg.vector_norm(self.pack.a[k].double())),
                norm_x=self.pack.norm_x[k],
            )
            run.eta = step_size(run.config, run.initial, run.dataset)
            self.pack.eta[k] = run.eta
            if run.dataset.test is not None:
                run.held_out = held_out.start(run.config, run.dataset, self._shared(k))


def _batch_weights(runs: Sequence[TrainingRun], step: int, like: Tensor) -> Tensor | None:
    """Weights of the samples in each trial's next gradient, (B, n); None for full batches."""
    size, n = runs[0].config.train.batch, like.shape[1]
    if size is None:
        return None
    rows = [batch_weights(run.config.seed, step, n, size) for run in runs]
    return torch.stack(rows).to(like)


def _first_tangents(runs: Sequence[TrainingRun], device: torch.device) -> Tensor | None:
    """H(0) of trials that were measured at step 0, (B, n, n); else None."""
    known = [run.initial.tangent for run in runs if run.initial is not None]
    return torch.stack(known).to(device) if len(known) == len(runs) > 0 else None


def _fill_solution(rows: list[Row], side: str, solution: Solution) -> None:
    """Write a fixed-point solve into the rows; `side` is forward or adjoint."""
    columns = {
        f"{side}_steps": solution.products,
        f"{side}_low": solution.low,
        f"{side}_predicted": solution.predicted,
        "residual" if side == "forward" else "adjoint_residual": solution.residual,
    }
    _fill(rows, **columns)


def _fill(rows: list[Row], **columns: Sequence[float]) -> None:
    """Write columns, one value for each row."""
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = float(value)
