"""Windows where rounding ends them: rates, tolerances, and how many windows are checked."""

import math

import pytest

from deq.config import DiagnosticsConfig, ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import DigitsConfig, load
from deq.training.comparison import compare
from deq.training.gradient_descent import GradientDescent
from deq.training.windows import attempts
from deq.training.windows.attempts import COARSEST, is_checked


def trial(windows, *, dtype="float64", width=96, n=12, steps=2500, **train):
    """A trial whose loss falls to rounding, in windows or by single steps."""
    return TrialConfig(
        data=DigitsConfig(n=n),
        model=ModelConfig(width, "tanh"),
        train=TrainConfig(steps, integrator="windows" if windows else "steps", **train),
        solver=SolverConfig(tol=1e-6 if dtype == "float32" else 1e-8),
        diagnostics=DiagnosticsConfig(every=100),
        dtype=dtype,
    )


def trained(config):
    descent = GradientDescent([config], [load(config.data)])
    for _ in descent:
        pass
    return descent.runs[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "steps", "train"),
    [("float32", 2500, {}), ("float64", 4000, {"loss_tol": 0.0})],
)
def test_windows_that_reach_rounding_give_the_rate_of_single_steps(dtype, steps, train):
    """Rounding in the last window is no error of the rows before it."""
    runs = [trained(trial(w, dtype=dtype, steps=steps, **train)) for w in (True, False)]
    rates = [compare(run).summary["rate/measured"] for run in runs]
    assert rates[0] == pytest.approx(rates[1], rel=3e-3)
    assert runs[0].window_tol <= COARSEST
    assert runs[0].products <= 1.3 * runs[1].products


def test_a_window_ends_where_rounding_passes_the_limit(monkeypatch):
    """At every step of a window the error that rounding may cause is at most COARSEST of e."""
    taken = []
    move = attempts.Attempts._move_to_end

    def watched(self, run, integrator, window, pack, diagnostics):
        sizes = window.e.norm(dim=-1)
        taken.append(float((attempts.ROUNDED * window.accuracy.floor / sizes).max()))
        return move(self, run, integrator, window, pack, diagnostics)

    monkeypatch.setattr(attempts.Attempts, "_move_to_end", watched)
    trained(trial(windows=True, dtype="float32"))
    assert len(taken) >= 3
    assert 1e-4 < max(taken) <= COARSEST


@pytest.mark.parametrize(("width", "n", "steps"), [(64, 32, 200), (96, 12, 400), (128, 24, 900)])
def test_three_windows_of_a_run_are_checked(width, n, steps, monkeypatch):
    """However a run ends, three of its windows are checked, or all but one where it has fewer."""
    counts = []
    load_checks = attempts.Attempts._move_to_end

    def watched(self, *arguments):
        rows = load_checks(self, *arguments)
        counts.append((self.windows, self.checks))
        return rows

    monkeypatch.setattr(attempts.Attempts, "_move_to_end", watched)
    run = trained(trial(windows=True, width=width, n=n, steps=steps))
    windows, checks = counts[-1]
    assert checks >= min(windows - 1, 3) >= 1
    assert math.isfinite(run.window_check)


def test_later_windows_are_checked_more_and_more_seldom():
    assert [k for k in range(1, 300) if is_checked(k)] == [2, 3, 4, 32, 256]
