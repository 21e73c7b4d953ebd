"""Trials trained in windows against the same trials step by step, and all that is around them."""

import dataclasses
import math

import pytest
import torch
from small_trials import finished

from deq.config import DiagnosticsConfig, ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import DigitsConfig, load
from deq.training.checkpoint import load_newest, numerical_environment, write_checkpoint
from deq.training.comparison import compare, train
from deq.training.gradient_descent import GradientDescent
from deq.training.training_run import Status
from deq.training.windows import attempts
from deq.training.windows.undecided import Undecided

DATA = DigitsConfig(n=12)
OWN = """
import dataclasses
from deq.activations.builtin import ACTIVATIONS
hinge = dataclasses.replace(ACTIVATIONS["relu"], name="hinge")
"""
STAMP = {"trials": "these", **numerical_environment()}
SMOOTH = ("tanh", "cos", "gelu", "identity")  # odd, phi(0) = 1, no symmetry, linear


def trial(name="tanh", *, width=64, steps=300, tol=1e-6, solver_tol=1e-12, **parts):
    """A trial in windows."""
    model = {key: parts.pop(key) for key in ("sigma_w2", "allow_ill_posed") if key in parts}
    train = {key: parts.pop(key) for key in ("eta", "loss_tol") if key in parts}
    return TrialConfig(
        data=DATA,
        model=ModelConfig(width, name, **model),
        train=TrainConfig(steps, integrator="windows", integrator_tol=tol, **train),
        solver=SolverConfig(tol=solver_tol, finish=parts.pop("finish", "none")),
        **parts,
    )


def stepwise(config):
    """Config of a windows trial, changed to single steps."""
    one = dataclasses.replace(config.train, integrator="steps", integrator_tol=None)
    return dataclasses.replace(config, train=one)


def run_of(config):
    return finished(GradientDescent([config], [load(config.data)])).runs[0]


def assert_equal(config, tol=1e-6):
    """Losses at every step, spectra and the rate; never dearer than single steps by a third."""
    windows, steps = train(config), train(stepwise(config))
    assert windows.status is steps.status
    assert len(windows.trajectory["step"]) == len(steps.trajectory["step"])
    ours, theirs = windows.trajectory, steps.trajectory
    resolved = 1e-24 / tol**2  # below, the equilibria's errors show in single steps
    resolvable = theirs["loss"] > resolved * theirs["loss"][0]
    torch.testing.assert_close(
        ours["loss"][resolvable], theirs["loss"][resolvable], rtol=2 * tol, atol=0
    )
    for name in ("lambda_min_gram", "lambda_min_tangent", "norm_w"):
        both = resolvable & ours[name].isfinite() & theirs[name].isfinite()
        assert int(both.sum()) > 3
        torch.testing.assert_close(ours[name][both], theirs[name][both], rtol=1e-5, atol=1e-9)
    rates = [outcome.summary.get("rate/measured", 0.0) for outcome in (windows, steps)]
    assert rates[0] == pytest.approx(rates[1], rel=10 * tol)
    rounded = "rounding" in windows.notes.get("solver/window_check", "")
    assert windows.summary["solver/window_check"] <= (1e-4 if rounded else tol)
    cost = [outcome.summary["solver/products_total"] for outcome in (windows, steps)]
    assert cost[0] <= 1.3 * cost[1]
    return cost[0] / cost[1]


@pytest.mark.parametrize("name", SMOOTH)
def test_windows_give_the_trajectory_of_single_steps(name):
    assert_equal(trial(name))


def compared(config):
    """Windows and single steps of a kinked activation: both outcomes, and their losses' ratio."""
    windows, steps = train(config), train(stepwise(config))
    assert windows.status is steps.status
    ours, theirs = windows.trajectory, steps.trajectory
    assert len(ours["step"]) == len(theirs["step"])
    resolvable = theirs["loss"] > 1e-16 * theirs["loss"][0]
    for name, error in (("lambda_min_gram", 2e-3), ("norm_w", 1e-5)):
        both = resolvable & ours[name].isfinite() & theirs[name].isfinite()
        torch.testing.assert_close(ours[name][both], theirs[name][both], rtol=error, atol=0)
    cost = [outcome.summary["solver/products_total"] for outcome in (windows, steps)]
    assert cost[0] <= 1.3 * cost[1]
    return windows, steps, float((ours["loss"] / theirs["loss"] - 1)[resolvable].abs().max())


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"name": "leaky_relu"},
        {"width": 48, "seed": 1},
        {"width": 150, "seed": 2},
        {"sigma_w2": 0.12, "seed": 3},
        {"eta": 0.05},
        {"eta": 0.95},
        {"eta": 1.5},
    ],
)
def test_kinked_windows_give_the_loss_and_rate_of_single_steps(parts):
    """Chatter apart, which at these widths is a thousandth of the loss."""
    windows, steps, error = compared(
        trial(**{"name": "relu", "tol": None, "solver_tol": 1e-9} | parts)
    )
    assert error < 3e-3
    rates = [outcome.summary["rate/measured"] for outcome in (windows, steps)]
    assert rates[0] == pytest.approx(rates[1], rel=2e-4)
    assert windows.summary.get("solver/window_check", 0.0) <= 1e-4
    for name in ("crossing", "sliding", "undecided"):
        assert windows.summary[f"solver/{name}"] >= 0
        assert f"solver/{name}" not in steps.summary


def test_a_wide_kinked_network_is_right_to_the_tolerance_and_cheap():
    windows, steps, error = compared(trial("relu", tol=None, width=128, steps=400, solver_tol=1e-8))
    assert error < 3e-4
    assert windows.summary["solver/crossing"] >= 3
    assert windows.summary["solver/sliding"] > 0
    total = "solver/products_total"
    assert windows.summary[total] < 0.5 * steps.summary[total]


def test_kinked_windows_in_float32_are_as_right_as_single_steps():
    narrow = trial("relu", tol=None, dtype="float32", solver_tol=1e-6, width=128, steps=150)
    right = train(stepwise(dataclasses.replace(narrow, dtype="float64"))).trajectory["loss"]
    worst = [
        float((train(config).trajectory["loss"] / right - 1).abs().max())
        for config in (narrow, stepwise(narrow))
    ]
    assert worst[0] < max(1.5 * worst[1], 1e-3)


def test_past_the_limit_of_sigma_w2_a_kinked_trial_takes_single_steps():
    config = trial("relu", tol=None, sigma_w2=0.2, allow_ill_posed=True, steps=60)
    windows, steps = train(config), train(stepwise(config))
    assert torch.equal(windows.trajectory["loss"], steps.trajectory["loss"])
    assert "single steps were taken" in windows.notes["solver/window_check"]


@pytest.mark.parametrize("first", [3, 9])
def test_a_weighty_undecided_entry_is_left_to_single_steps_and_noted(first, monkeypatch):
    """At once, or after a shorter window."""
    counts = iter([Undecided(3, 2, first)])
    monkeypatch.setattr(attempts, "undecided", lambda window: next(counts, Undecided()))
    run = run_of(trial("relu", tol=None, steps=120))
    assert (run.undecided, run.weighty) == (2, 2)
    outcome = compare(run)
    assert outcome.summary["solver/undecided"] == 2
    assert "2 pre-activations that would change the rate" in outcome.notes["solver/window_check"]


def test_the_default_tolerance_is_the_activation_s_and_has_one_form():
    assert trial(tol=1e-6) == trial(tol=None)
    assert trial("relu", tol=1e-4) == trial("relu", tol=None) != trial("relu", tol=1e-6)
    assert trial(tol=1e-4).train.integrator_tol == 1e-4
    assert [trial(name, tol=None).integrator_tol for name in ("tanh", "relu")] == [1e-6, 1e-4]


def test_a_long_run_costs_a_small_part_of_single_steps():
    assert assert_equal(trial(width=128, steps=2500)) < 0.25


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts",
    [
        {"width": 48, "seed": 1},
        {"width": 150, "seed": 2},
        {"sigma_w2": 0.12, "seed": 3},
        {"sigma_w2": 0.3, "allow_ill_posed": True, "seed": 4},
        {"eta": 0.05},
        {"eta": 0.95},
        {"eta": 1.1},
        {"eta": 1.5},
    ],
)
def test_windows_follow_other_widths_seeds_variances_and_step_sizes(parts):
    assert_equal(trial(**parts))


@pytest.mark.slow
def test_a_tighter_tolerance_is_met():
    assert_equal(trial(tol=1e-8, width=128, steps=1200), tol=1e-8)


def test_float32_windows_follow_float64_as_far_as_single_steps_do():
    narrow = trial(dtype="float32", solver_tol=1e-6, width=128)
    right = train(stepwise(dataclasses.replace(narrow, dtype="float64"))).trajectory["loss"]
    windows, steps = train(narrow), train(stepwise(narrow))
    worst = [float((o.trajectory["loss"] / right - 1).abs().max()) for o in (windows, steps)]
    assert worst[0] < max(1.5 * worst[1], 1e-4)
    assert "rounding in float32" in windows.notes["solver/window_check"]


def test_a_float64_finish_continues_in_windows():
    config = trial(dtype="float32", finish="float64", solver_tol=1e-6, steps=300)
    run = run_of(config)
    rounding = [row["rounding"] for row in run.rows]
    assert rounding[0] > 1e-8
    assert rounding[-1] < 1e-15
    right = run_of(
        stepwise(dataclasses.replace(config, dtype="float64", solver=SolverConfig(tol=1e-12)))
    )
    assert run.rows[-1]["loss"] == pytest.approx(right.rows[-1]["loss"], rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ({"loss_tol": 1e-4}, Status.CONVERGED),
        ({"loss_tol": 0.0, "steps": 6000}, Status.STALLED),
        ({"eta": 30.0}, Status.DIVERGED),
        ({"sigma_w2": 2.0, "allow_ill_posed": True}, Status.ILL_POSED),
    ],
)
def test_a_trial_in_windows_ends_as_by_single_steps(parts, status):
    config = trial(**parts)
    windows, steps = run_of(config), run_of(stepwise(config))
    assert (windows.status, steps.status) == (status, status)
    if status is not Status.STALLED:  # rounding decides at which step
        assert len(windows.rows) == len(steps.rows)
    assert windows.products <= 1.3 * steps.products


@pytest.mark.parametrize("steps", [5, 40, 90])
def test_short_runs_are_never_dearer_by_a_third(steps):
    config = trial(steps=steps)
    assert run_of(config).products <= 1.3 * run_of(stepwise(config)).products


def test_single_steps_are_taken_if_windows_never_succeed(monkeypatch):
    """A run whose windows all fail their check, at most 1.3 times as dear."""
    monkeypatch.setattr(attempts, "is_checked", lambda number: True)
    monkeypatch.setattr(attempts, "deviation", lambda window, place: 1.0)
    config = trial(steps=250)
    run, steps = run_of(config), run_of(stepwise(config))
    assert run.windows_refused > 0
    assert run.products <= 1.3 * steps.products
    outcome = compare(run)
    assert "solver/window_check" not in outcome.summary
    assert f"{run.windows_refused} windows were not taken" in outcome.notes["solver/window_check"]
    losses = [[row["loss"] for row in c.rows] for c in (run, steps)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def test_at_least_three_random_steps_are_checked(monkeypatch):
    places, deviation = [], attempts.deviation

    def watched(window, place):
        places.append(window.nodes.steps[0] + place)
        return deviation(window, place)

    monkeypatch.setattr(attempts, "deviation", watched)
    run_of(trial())
    assert len(set(places)) >= 3
    first = list(places)
    run_of(trial(seed=1))
    assert places[len(first) :] != first


def test_rows_say_what_was_measured_where():
    run = run_of(dataclasses.replace(trial(), diagnostics=DiagnosticsConfig(every=7)))
    rows = run.rows
    assert [int(row["step"]) for row in rows] == list(range(301))
    assert all(math.isfinite(row["loss"] + row["products"] + row["rounding"]) for row in rows)
    for name in ("lambda_min_gram", "lambda_min_tangent", "grad_norm"):
        assert all(math.isfinite(row[name]) for row in rows if row["step"] % 7 == 0)
    ends = [row for row in rows if math.isfinite(row["norm_w"])]
    inside = [row for row in rows if not math.isfinite(row["residual"])]
    assert len(inside) > 100
    assert ends[-1]["step"] == 300
    assert all(math.isnan(row["norm_w"]) for row in inside)
    n, m = 12, 64
    assert (
        sum(row["products"] for row in rows)
        < run.products
        < sum(row["products"] for row in rows) * (1 + 12 * n / m)
    )


def test_products_of_single_steps_are_counted_with_the_thin_ones():
    run = run_of(stepwise(trial(steps=20)))
    large = sum(row["products"] for row in run.rows)
    assert compare(run).summary["solver/products_total"] == pytest.approx(large + 21 * 12 / 64)


@pytest.mark.slow
def test_a_pack_of_trials_in_windows_is_each_trial_alone_bit_for_bit():
    configs = [trial(steps=steps, seed=seed) for steps, seed in ((200, 0), (40, 1), (120, 2))]
    configs.append(stepwise(configs[0]))
    assert_each_as_alone(configs)
    assert_each_as_alone([trial("relu", tol=None, seed=seed, steps=150) for seed in (0, 1)])


def assert_each_as_alone(configs):
    descent = finished(GradientDescent(configs, [load(DATA)] * len(configs)))
    for run, config in zip(descent.runs, configs, strict=True):
        alone = run_of(config)
        assert run.status is alone.status
        assert [row["loss"] for row in run.rows] == [row["loss"] for row in alone.rows]


def known(row):
    return {name: value for name, value in row.items() if not math.isnan(value)}


def stopped_at(step, config, **options):
    descent = GradientDescent([config], [load(config.data)], **options)
    next(s for s in descent if s == step)
    return descent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "step"), [("tanh", 20), ("tanh", 131), ("tanh", 200), ("relu", 60), ("relu", 200)]
)
def test_a_checkpoint_continues_bit_for_bit(name, step, tmp_path):
    """Before the first window, and inside one; the weights at the next step as well."""
    config = trial(name, tol=None)
    whole = finished(GradientDescent([config], [load(DATA)], keep_weights=True))
    descent = stopped_at(step, config)
    write_checkpoint(tmp_path, descent, STAMP, {})
    checkpoint, _ = load_newest(tmp_path, STAMP)
    again = checkpoint.descent([config], [load(DATA)], keep_weights=True)
    for part in ("w", "u", "a"):
        assert torch.equal(getattr(again.weights(0), part), getattr(descent.weights(0), part))
    finished(again)
    (one,), (other,) = whole.runs, again.runs
    for row, right in zip(other.rows, one.rows, strict=True):
        assert known(row) == known(right)
    assert (one.products, one.window_check) == (other.products, other.window_check)
    assert torch.equal(one.weights.w, other.weights.w)


@pytest.mark.parametrize(("name", "error"), [("tanh", 1e-5), ("relu", 1e-3)])
def test_a_trial_stopped_inside_a_window_has_the_weights_of_the_next_step(name, error):
    config, step = trial(name, tol=None), 150
    descent = stopped_at(step, config, keep_weights=True)
    (run,) = descent.runs
    assert run.status is None
    live = descent.weights(0)
    descent.stop(run, "asked to")
    assert not descent.groups
    assert len(run.rows) == step + 1
    right = stopped_at(step, stepwise(config)).weights(0)
    start = stopped_at(0, stepwise(config)).weights(0)
    for part in ("w", "u", "a"):
        moved = (getattr(right, part) - getattr(start, part)).norm()
        for weights in (live, run.weights):
            assert float((getattr(weights, part) - getattr(right, part)).norm() / moved) < error
    assert compare(run).status is Status.STOPPED


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: TrainConfig(integrator="windows", integrator_tol=0.1), "integrator_tol must be"),
        (lambda: TrainConfig(integrator_tol=1e-7), "no meaning with integrator=steps"),
        (
            lambda: dataclasses.replace(trial(), solver=SolverConfig(name="anderson")),
            "solver.name=picard",
        ),
        (
            lambda: dataclasses.replace(
                trial(dtype="float32", solver_tol=1e-6),
                solver=SolverConfig(tol=1e-6, precision="mixed"),
            ),
            "solver.precision=full",
        ),
    ],
)
def test_trials_that_windows_do_not_support_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_windows_of_an_own_kinked_activation_are_refused(tmp_path, monkeypatch):
    (tmp_path / "own_kink.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="leaky_relu and relu only, not own_kink:hinge"):
        trial("own_kink:hinge", tol=None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize(("name", "error"), [("tanh", 2e-6), ("relu", 1e-3)])
def test_windows_on_a_gpu_agree_with_the_cpu(name, error):
    config = trial(name, tol=None)
    cpu, gpu = train(config), train(config, device="cuda")
    torch.testing.assert_close(gpu.trajectory["loss"], cpu.trajectory["loss"], rtol=error, atol=0)
