"""Try windows of one trial, check them and move the trial to their ends."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from deq.activations.activation import Activation
from deq.config import TrialConfig
from deq.training.diagnostics import Diagnostics
from deq.training.pack import Pack
from deq.training.state import State, load_state_dict, state_dict
from deq.training.training_run import Row, TrainingRun, blank_row
from deq.training.windows.check import FixedPoint, deviation
from deq.training.windows.control import Control
from deq.training.windows.integrator import Integrator
from deq.training.windows.kinked_integrator import KinkedIntegrator
from deq.training.windows.kinked_window import KinkedWindow
from deq.training.windows.low_rank import Network, Work, apply
from deq.training.windows.nodes import States
from deq.training.windows.rows import AnyWindow, end_of_training, losses, rows_inside
from deq.training.windows.undecided import SLIDES, undecided
from deq.training.windows.window import ROUNDED, Accuracy, RejectedError, Window, window_cost

AnyIntegrator = Integrator | KinkedIntegrator
# Number of states that the first window starts from, and single steps after a window.
RECENT = 4
# Distance in steps between the states of the first window, as a share of their step.
SPACING = 0.125
# Tolerance, loosened for rounding, above which no window is tried.
COARSEST = 1e-3
# Number of checks in a run of four windows or more, at least.
CHECKS = 3
# Products of the cheapest GD step, beside a thin one: forward, adjoint, gradient.
LEAST = 3.0
# Products of the cheapest GD step with a kink, whose changing masks cost more (4.85 measured).
KINKED_LEAST = 4.5


class Attempts:
    """All windows of one trial.

    Attributes:
        control: chooses lengths, and whether a window is tried.
        recent: step, q and v, (n, m) each, of some of the last single steps.
        integrator: solves windows from the present step; None after single steps.
        path: (h + 1, n) e along the last window.
        windows: number of windows that were taken.
        checks: number of steps that were checked.
    """

    def __init__(self, config: TrialConfig, n: int, m: int, phi: Activation) -> None:
        tol, kinked = config.integrator_tol, math.isinf(phi.curvature)
        self._built = config.windows_are_taken
        degree = degree_for(tol, kinked=kinked)
        self._kind: type[Integrator] | type[KinkedIntegrator]
        self._kind = KinkedIntegrator if kinked else Integrator
        self.tol = tol
        self.control = Control(degree, window_cost(tol, degree, n, m, kinked=kinked))
        self.recent: list[tuple[int, Tensor, Tensor]] = []
        self.integrator: AnyIntegrator | None = None
        self.path: Tensor | None = None
        self.windows = self.checks = 0
        self._undecided = False

    def add_step(self, step: int, pack: Pack, cost: float) -> None:
        """Account for a single step.

        Args:
            step: the GD step, whose state the pack holds.
            pack: of this trial alone.
            cost: products of the step.
        """
        self.control.add_step(cost)
        self.integrator = None
        if not self.recent or step - self.recent[-1][0] >= SPACING * step:
            self.recent = [*self.recent, _state(step, pack)][-RECENT:]

    def rows(self, step: int, run: TrainingRun, pack: Pack, diagnostics: Diagnostics) -> list[Row]:
        """Move to the end of a window, if one is due and right to the tolerance.

        Args:
            step: the present step, which has been measured.
            run: the trial's training run.
            pack: of this trial alone, with the weights of `step`.
            diagnostics: measures the window's end.

        Returns:
            One row for each step of the window after `step`; none if a single step is due.
        """
        left = run.config.train.steps - step
        ready = self._built and (self.integrator is not None or len(self.recent) == RECENT)
        while left >= 2 and ready and self.control.due and not pack.needs_float64():
            network = _network(run, pack)
            integrator = self._integrator_at(step, network, pack)
            accuracy = integrator.accuracy(self.tol, self.control.allowance)
            if not accuracy.tol <= COARSEST:
                run.products += network.total()
                self.control.add_unresolved(network.total())
                break
            length = self.control.steps(step, left)
            window = self._solve(run, integrator, length, accuracy)
            if window is not None:
                return self._move_to_end(run, integrator, window, pack, diagnostics)
        return []

    def weights(self, run: TrainingRun, pack: Pack, step: int) -> Network:
        """Return the weights at a step inside the last window; the pack is at its end."""
        assert self.integrator is not None
        assert self.path is not None
        network = _network(run, pack)
        w, p, a = (part.clone() for part in (network.w, network.p, network.a))
        back = replace(network, w=w, p=p, a=a, eta=-network.eta)
        apply(back, self.integrator.terms_back(self.path, step))
        return back

    def rewind(self, run: TrainingRun, pack: Pack, step: int) -> None:
        """Set the pack's weights to those at a step inside the last window."""
        network = self.weights(run, pack, step)
        for part, value in ((pack.w, network.w), (pack.p, network.p), (pack.a, network.a)):
            part[0].copy_(value)

    def _integrator_at(self, step: int, network: Network, pack: Pack) -> AnyIntegrator:
        if self.integrator is None:
            older = [state for state in self.recent if state[0] < step]
            steps, q, v = zip(*older[1 - RECENT :], _state(step, pack), strict=True)
            states, e = States(list(steps), torch.stack(q), torch.stack(v)), pack.e[0].double()
            self.integrator = self._kind.after_steps(
                network, states, e.cpu(), self.control.degree, self.tol
            )
        self.integrator.network = network
        return self.integrator

    def _solve(
        self, run: TrainingRun, integrator: AnyIntegrator, length: int, accuracy: Accuracy
    ) -> AnyWindow | None:
        """Return a window that is right to the tolerance and checked; None if it is rejected."""
        network, start = integrator.network, integrator.step
        try:
            window = integrator.window(length, accuracy)
            end = end_of_training(run, window)
            while end is not None and 1 < end < length:  # the run ends there: so does the window
                length = end
                window = integrator.window(length, accuracy)
                end = end_of_training(run, window)
            if end == 1 < length:
                raise RejectedError(math.inf)
            if (resolved := _resolved_steps(window)) < length:
                if resolved < 2 * self.control.degree:
                    raise RejectedError(math.inf)
                window = integrator.window(resolved, accuracy)
            if isinstance(window, KinkedWindow):
                window = self._cut_before_weighty(run, integrator, window, accuracy)
            self._check(run, window, last=end == len(window.e) - 1)
        except RejectedError as rejected:
            cost, error = network.total(), rejected.error / accuracy.tol
            run.products += cost
            run.rows[-1]["products"] += network.work.large
            self.control.add_rejected(start, length, error, cost, _least(network))
            self._pause_if_undecided()
            return None
        return window

    def _cut_before_weighty(
        self, run: TrainingRun, integrator: AnyIntegrator, window: KinkedWindow, accuracy: Accuracy
    ) -> KinkedWindow:
        """Return the window, or a shorter one that ends before an entry is weighty.

        Raises:
            RejectedError: the shorter window would have too few steps.
        """
        counts = undecided(window)
        window.undecided = counts.count - counts.weighty
        if not counts.weighty:
            return window
        run.undecided += counts.weighty
        run.weighty += counts.weighty
        self._undecided = True
        if counts.first < 2 * self.control.degree:
            raise RejectedError(math.inf)
        shorter = integrator.window(counts.first, accuracy)
        assert isinstance(shorter, KinkedWindow)
        return shorter

    def _pause_if_undecided(self) -> None:
        if self._undecided:
            self.control.pause()
        self._undecided = False

    def _check(self, run: TrainingRun, window: AnyWindow, *, last: bool) -> None:
        """Compare true GD steps with the window's, if this window is one to check.

        Raises:
            RejectedError: a step deviates by more than the tolerance.
        """
        number, length = self.windows + 1, len(window.e) - 1
        count = max(CHECKS - self.checks, 1) if last else int(is_checked(number))
        stream = torch.Generator().manual_seed(run.config.seed % 2**32 + number)
        places = torch.randperm(length, generator=stream)[:count].tolist()
        for place in places:
            difference = deviation(window, place)
            size = float(window.e[place + 1].norm())
            if not difference <= max(window.accuracy.tol, ROUNDED * window.accuracy.floor / size):
                run.windows_refused += 1
                raise RejectedError(math.inf)
            run.window_check = max(difference, run.window_check)
        self.checks += len(places)

    def _move_to_end(
        self,
        run: TrainingRun,
        integrator: AnyIntegrator,
        window: AnyWindow,
        pack: Pack,
        diagnostics: Diagnostics,
    ) -> list[Row]:
        """Move the trial to the window's end; return one row for each step."""
        network, length = integrator.network, len(window.e) - 1
        rows = rows_inside(window, run.config.diagnostics.every)
        end = _accept(integrator, window)
        near = integrator.guess.at([integrator.step - k for k in range(RECENT - 1, -1, -1)])
        near.q[-1], near.v[-1] = end.q, end.v
        pack.set_states(near.q[:, None], near.v[:, None], integrator.e[None])
        rows.append(_end_row(integrator, end) | diagnostics.measure(pack).rows()[0])
        for row in rows:
            row["products"] = network.work.large / length
        run.products += network.total()
        start, floor = window.nodes.steps[0], ROUNDED * window.accuracy.floor
        tol = max(window.accuracy.tol, floor / float(window.e[-1].norm()))
        run.window_tol = max(tol, run.window_tol)
        run.window_floor = max(floor, run.window_floor)
        self.recent = [(s, *window.state(s - start)) for s in window.nodes.steps][-RECENT:]
        self.path, self.windows = window.e, self.windows + 1
        error = window.error / window.accuracy.tol
        self.control.add_taken(start, length, error, network.total(), _least(network))
        if isinstance(window, KinkedWindow):
            _count_entries(run, window)
        self._pause_if_undecided()
        return rows

    def state(self) -> State:
        """Return the state that later windows depend on."""
        at, recent = self.integrator, self.recent
        return {
            "control": state_dict(self.control),
            "recent": [{"step": step, "q": q, "v": v} for step, q, v in recent],
            "integrator": None if at is None else at.state(),
            "path": self.path,
            "windows": self.windows,
            "checks": self.checks,
        }

    def load(self, state: State, run: TrainingRun, pack: Pack) -> None:
        """Set the state to one that `state` returned; `run` and `pack` are those of then."""
        load_state_dict(self.control, state["control"])
        self.recent = [(int(s["step"]), s["q"], s["v"]) for s in state["recent"]]
        if state["integrator"] is not None:
            network = _network(run, pack)
            degree = self.control.degree
            self.integrator = self._kind.restored(network, degree, state["integrator"])
        self.path = None if state["path"] is None else state["path"].cpu()
        self.windows, self.checks = state["windows"], state["checks"]


def is_checked(number: int) -> bool:
    """Return whether a window is checked, by its number from 1: 2, 3, 4, 32, 256, ...

    A check of the first one would cost a kinked run the products that its second window needs.
    """
    seldom = number.bit_count() == 1 and number.bit_length() % 3 == 0  # 4, 32, 256, ...
    return number in (2, 3) or seldom


def _resolved_steps(window: AnyWindow) -> int:
    """Return the steps of a window up to which rounding is at most COARSEST of e."""
    rounded = ROUNDED * window.accuracy.floor > COARSEST * window.e.norm(dim=-1)
    steps = rounded.nonzero().flatten().tolist()
    return int(steps[0]) - 1 if steps else len(window.e) - 1


def degree_for(tol: float, *, kinked: bool = False) -> int:
    """Return the degree of the polynomials that takes the fewest products to a tolerance."""
    if kinked:
        return 2 if tol >= 3e-5 else 3
    return 3 if tol >= 1e-7 else 4


def _accept(integrator: AnyIntegrator, window: AnyWindow) -> FixedPoint:
    """Move an integrator to the end of its own window; return the fixed point there."""
    if isinstance(integrator, KinkedIntegrator):
        assert isinstance(window, KinkedWindow)
        return integrator.accept(window)
    assert isinstance(window, Window)
    return integrator.accept(window)


def _count_entries(run: TrainingRun, window: KinkedWindow) -> None:
    """Count the crossing, sliding and undecided entries of a window that was taken."""
    flips = window.flips()
    run.crossing += int((flips == 1).sum())
    run.sliding = max(run.sliding, int((flips >= SLIDES).sum()))
    run.undecided += window.undecided


def _state(step: int, pack: Pack) -> tuple[int, Tensor, Tensor]:
    """Return copies of the pack's only state."""
    return step, pack.forward.last[0].clone(), pack.adjoint.last[0].clone()


def _network(run: TrainingRun, pack: Pack) -> Network:
    xx, y = pack.xx[0].cpu(), pack.y[0].cpu()
    return Network(pack.w[0], pack.p[0], pack.a[0], xx, y, run.eta, pack.phi, Work())


def _end_row(integrator: AnyIntegrator, end: FixedPoint) -> Row:
    """Return the row of the present step, the end of a window, without its spectra."""
    return blank_row(integrator.step) | {
        "loss": losses(integrator.e[None])[0],
        "residual": end.q_change,
        "adjoint_residual": end.v_change,
        "rounding": float(torch.finfo(end.q.dtype).eps),
    }


def _least(network: Network) -> float:
    """Return the least cost of a single step, thin products counted n / m."""
    n, m = network.p.shape
    return (KINKED_LEAST if math.isinf(network.phi.curvature) else LEAST) + n / m
