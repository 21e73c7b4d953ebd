"""The scorecard of the theory's claims: what networks show, and `sweeps verify`."""

import itertools
import json

import pytest
from command import inside

import deq
from sweeps.planning.outcomes import TrialOutcome
from sweeps.planning.plan import PlannedTrial
from sweeps.reports.claims import CLAIMS, METRICS, claims_frame, score, scorecard
from sweeps.reports.networks import OF_KERNEL, OF_NETWORK, once

BY_NAME = {claim.name: claim for claim in CLAIMS}
HELD = {"theory/condition_held": 1.0}
NOT = {"theory/condition_held": 0.0}


def trial(
    summary, width=64, loss_tol=0.0, status="budget", seed=0, activation="tanh", data=None, eta=0.5
):
    """The outcome of a trial with these metrics."""
    plain = {
        "model": {"width": width, "activation": activation},
        "train": {"loss_tol": loss_tol, "eta": eta, "eta_unit": "tangent"},
        "data": data or {"n": 8},
        "seed": seed,
    }
    digest = f"{width}-{seed}-{len(summary)}"
    varying = {"model.width": width, "seed": seed, "train.eta": eta}
    planned = PlannedTrial(digest, str(width), digest, varying, plain, 0, 1)
    return TrialOutcome(planned, status, summary)


def finding(name, *trials):
    return score(BY_NAME[name], claims_frame(trials, METRICS)).finding


def equilibrium(held):
    return {"theory/well_posed_held": held}


def least(value):
    return {"theory/lambda_ratio_min": value, "theory/lambda_held": float(value >= 0.5)}


def moved(value):
    return {"theory/distance_over_delta": value}


def above(value):
    return {"theory/bound_violation": value, "theory/bound_held": float(value <= 0)}


@pytest.mark.parametrize(
    ("name", "holds", "fails", "worst"),
    [
        ("equilibrium", equilibrium(1.0), equilibrium(0.0), None),
        ("lambda", least(0.75), least(0.25), ("0.75", "0.25")),
        ("distance", moved(0.5), moved(1.5), ("0.5", "1.5")),
        ("bound", above(-1.0), above(2.0), ("-1", "2")),
    ],
)
def test_a_consequence_of_the_theorem_counts_where_the_conditions_hold(name, holds, fails, worst):
    good, bad, outside = trial(HELD | holds), trial(HELD | fails), trial(NOT | fails)
    assert finding(name, good, good, outside).verdict == "seen"
    assert finding(name, good, bad, outside).verdict == "seen in 1 of 2"
    assert finding(name, bad).verdict == "not seen"
    alone = finding(name, outside)
    assert alone.verdict == "not tested"
    assert "held in 0 of 1" in alone.measured
    if worst:
        assert finding(name, good).measured.endswith(worst[0])
        assert finding(name, good, bad).measured.endswith(worst[1])


def test_the_initial_eigenvalue_is_compared_at_every_width():
    def at(width, ratio):
        metrics = {"theory/lambda_0_over_m": ratio, "theory/lambda_star": 1.0}
        return trial(metrics, width, seed=next(seeds))

    seeds = itertools.count()
    evidence = finding("initial", at(64, 0.3), at(64, 0.6), at(128, 0.9), at(128, 0.5))
    assert (evidence.count, evidence.held) == (4, 3)
    # No interval of so few networks: it would say nothing.
    assert evidence.measured.endswith("at the greatest width at least 1/2 in 2 of 2")
    evidence = finding("initial", *(at(128, 0.9) for _ in range(5)))
    # 0.025^(1/5), Clopper and Pearson
    assert evidence.measured.endswith("in 5 of 5 (probability 0.478 to 1, 95 %)")


@pytest.mark.parametrize(
    ("name", "metric", "exponent", "verdict"),
    [
        ("population", "gram_error", -0.5, "seen"),
        ("population", "gram_error", -0.46, "not seen"),
        ("exchange", "depth_error", -0.46, "seen"),
        ("exchange", "depth_error", -0.25, "not seen"),
    ],
)
def test_the_distance_to_the_limit_falls_as_the_root_of_the_width(name, metric, exponent, verdict):
    """With one percent of noise, alternating."""
    trials = [
        trial({f"theory/{metric}": 3 * width**exponent * (1 + 0.01 * (-1) ** k)}, width, seed=k)
        for width in (64, 128, 256, 512)
        for k in range(2)
    ]
    evidence = finding(name, *trials)
    assert evidence.verdict == verdict
    assert f"m^({exponent:.3g}" in evidence.measured


def test_depth_is_compared_with_the_proven_factors_where_the_equilibrium_is_unique():
    def at(factor, limit, bound=0.5):
        names = ("factor", "bound", "factor_limit", "bound_limit")
        values = zip(names, (factor, bound, limit, 0.1), strict=True)
        metrics = {f"theory/depth_{name}": value for name, value in values}
        return trial(metrics, seed=next(seeds))

    seeds = itertools.count()
    slow, slow_limit, past = at(0.6, 0.05), at(0.2, 0.2), at(2.0, 0.05, bound=1.5)
    evidence = finding("depth", at(0.2, 0.05), at(0.4, 0.1), slow, slow_limit, past)
    assert evidence.verdict == "seen in 2 of 4"
    assert "factor of G 0.2 to 0.6, at most 1.2 of the proven one" in evidence.measured
    assert finding("depth", past).verdict == "not tested"


def test_a_kernel_is_unique_if_two_starts_reach_it():
    def at(gap, sigma_w2):
        data = {"d": 8, "n": 8, "seed": sigma_w2}
        return trial({"theory/kernel_gap": gap}, data=data)

    evidence = finding("kernel", at(1e-13, 0), at(1e-13, 0), at(1e-3, 1))
    assert (evidence.verdict, evidence.of) == ("seen in 1 of 2", "kernels")
    assert evidence.measured.endswith("two starts: 0.001")
    assert finding("kernel", trial({})).verdict == "not tested"


@pytest.mark.parametrize(("heavy", "verdict"), [(1.0, "seen"), (1.5, "not seen")])
def test_outputs_are_gaussian_where_their_kurtosis_is_that_of_gaussians(heavy, verdict):
    """With noise, alternating, whose mean is exact."""

    def networks(width, fourth, count):
        return [
            trial(
                {
                    "theory/output_square": 2.0 + 0.1 * (-1) ** k,
                    "theory/output_fourth": 4 * fourth * (1 + 0.3 * (-1) ** k),
                },
                width,
                seed=k,
            )
            for k in range(count)
        ]

    narrow, wide = networks(16, 5.0, 40), networks(512, 3 * heavy, 40)
    evidence = finding("gaussian", *narrow, *wide)
    assert evidence.verdict == verdict
    assert "excess kurtosis 2 at width 16" in evidence.measured
    assert finding("gaussian", *narrow).verdict == "not tested"
    assert finding("gaussian", *narrow, *wide[:2]).verdict == "not tested"


@pytest.mark.parametrize(
    ("name", "metric", "slow", "fast"),
    [
        ("equivalent", "equivalent_error", -0.3, -1.0),
        ("shallow", "shallow_error", -0.7, -1.3),
    ],
)
def test_equivalents_of_the_kernel_are_judged_for_each_activation(name, metric, slow, fast):
    def at(power, activation, d, n):
        summary = {f"theory/{metric}": 3 * d**power}
        return trial(summary, activation=activation, data={"d": d, "n": n})

    dimensions = (64, 128, 256)
    good = [at(fast, "tanh", d, d) for d in dimensions]
    bad = [at(slow, "relu", d, d) for d in dimensions]
    assert finding(name, *good).verdict == "seen"
    assert finding(name, *good, *bad).verdict == "not seen"
    assert finding(name, *good[:2]).verdict == "not tested"
    ratios = [at(fast, "tanh", d, 16) for d in dimensions]  # n / d is not fixed
    assert finding(name, *ratios).verdict == "not tested"
    assert finding(name, trial({f"theory/{metric}": 1.0})).verdict == "not tested"


def test_a_global_optimum_is_asked_for_and_reached():
    end = {"rate/measured_end_over_asymptotic": 1.05}
    far = {"rate/measured_end_over_asymptotic": 1.2}
    reached = trial(end, loss_tol=1e-20, status="converged")
    slow = trial(far, loss_tol=1e-20, status="converged", seed=1)
    cut = trial(far, loss_tol=1e-20, status="stalled", seed=2)
    short = trial(far, loss_tol=1e-20, seed=3)
    easy = trial(end, loss_tol=1e-3, status="converged")
    assert finding("optimum", reached, slow, cut, short).verdict == "seen in 2 of 3"
    assert finding("optimum", short).measured == ""
    assert finding("optimum", easy).measured == ""
    wild = trial({}, loss_tol=1e-20, status="diverged", eta=1.0)
    assert finding("optimum", wild).measured == ""
    assert finding("optimum", reached, wild).verdict == "seen"
    assert finding("final_rate", reached, slow, cut).verdict == "seen in 1 of 2"


@pytest.mark.parametrize(("exponent", "verdict"), [(1.0, "seen"), (0.5, "not seen")])
def test_the_sphere_of_a_linear_network_is_left_in_proportion_to_the_step_size(exponent, verdict):
    def at(eta, activation, power, status="converged"):
        summary = {"train/eta": eta, "theory/sphere_drift": 0.1 * eta**power}
        return trial(summary, activation=activation, status=status)

    trials = [at(eta, phi, exponent) for eta in (0.01, 0.1, 1.0) for phi in ("identity", "relu")]
    others = [at(eta, "tanh", 0.0) for eta in (0.01, 0.1, 1.0)]
    cut = [at(eta, "relu", 2.0, "budget") for eta in (0.01, 0.1, 1.0)]
    assert finding("sphere", *trials, *others, *cut).verdict == verdict
    assert finding("sphere", *others).verdict == "not tested"
    assert finding("sphere", *trials[:2]).verdict == "not tested"


@pytest.mark.parametrize(("exponent", "verdict"), [(1.0, "seen"), (0.5, "not seen")])
def test_the_circle_is_left_in_proportion_to_the_step_size_in_each_network(exponent, verdict):
    """Drifts of the networks differ by factors, and some are trained at small step sizes only."""

    def at(eta, seed, status="converged", **more):
        drift = 10.0**seed * eta**exponent
        summary = {"train/eta": eta, "theory/sphere_drift_output": drift} | more
        return trial(summary, 1, status=status, seed=seed, activation="relu")

    index = {"theory/minimum_distance": 1.0}
    trials = [at(eta, 0, **index) for eta in (1e-3, 2e-3, 4e-3)]
    trials += [at(eta, 3, **index) for eta in (1e-3, 2e-3)]
    lost = at(1e-5, 0, "diverged", **index)
    evidence = finding("circle", *trials, lost)
    assert evidence.verdict == verdict
    assert evidence.count == 5
    assert f"eta^({exponent:.3g} +- " in evidence.measured
    assert finding("circle", *(at(eta, 0) for eta in (1e-3, 2e-3, 4e-3))).verdict == "not tested"


def test_a_single_index_model_reaches_its_minimum_at_the_predicted_rate():
    def at(rate, moved, status="converged", seed=0):
        summary = {"theory/minimum_distance": 2.0, "train/distance": 2 * moved}
        return trial(summary | {"rate/measured_end_over_single_index": rate}, 1, 0.0, status, seed)

    good, fast, far = at(0.97, 1.01), at(1.2, 1.0, seed=1), at(1.0, 1.3, seed=2)
    slow, lost = at(1.0, 1.0, "budget", 3), at(1.0, 1.0, "ill_posed", 4)
    cannot = trial({"train/distance": 1.0}, 1, 0.0, "stalled", 5)
    assert finding("single_index", good, lost, cannot).verdict == "seen"
    evidence = finding("single_index", good, fast, far, slow)
    assert evidence.verdict == "seen in 1 of 4"
    assert "reached by 3" in evidence.measured
    assert "final rate 0.97 to 1.2, distance moved 1 to 1.3" in evidence.measured
    assert finding("single_index", slow, cannot).verdict == "not tested"


def test_redrawing_that_gives_up_counts_against_it():
    few, many = ({"theory/networks_drawn": count} for count in (2.0, 8.0))
    rejected = trial(many, 128, status="rejected")
    trials = [trial(many, 64), trial(few, 64, seed=1), rejected, trial({}, 128)]
    evidence = finding("redraw", *trials)
    assert evidence.verdict == "seen in 2 of 3"
    assert evidence.measured.endswith("5 at width 64, 8 at width 128")


@pytest.mark.parametrize(
    ("name", "key", "better", "worse"),
    [
        ("linearised", "rate/measured_over_linearized", 0.99, 1.5),
        ("drift", "theory/kernel_drift", 0.01, 0.3),
    ],
)
def test_a_quantity_tends_to_its_limit_with_the_width(name, key, better, worse):
    rates = {"rate/measured": 0.2, "rate/linearized": 0.1}
    near, far = (rates | {key: value} for value in (better, worse))
    assert finding(name, trial(far, 64), trial(near, 256)).verdict == "seen"
    assert finding(name, trial(near, 64), trial(far, 256)).verdict == "not seen"
    assert finding(name, trial(near, 64)).verdict == "not tested"


def test_a_rate_is_not_divided_by_that_of_a_linearised_model_that_does_not_converge():
    rates = {"rate/measured": 0.2, "rate/linearized": 1e-9, "rate/measured_over_linearized": 2e8}
    fair = rates | {"rate/linearized": 0.2, "rate/measured_over_linearized": 1.0}
    evidence = finding("linearised", trial(fair, 64), trial(fair, 128), trial(rates, 128, seed=1))
    assert evidence.count == 2
    assert finding("linearised", trial(fair, 64), trial(rates, 128)).verdict == "not tested"


@pytest.mark.parametrize("metric", ["gram_error", "depth_error"])
def test_a_network_counts_once_however_many_step_sizes_it_is_trained_with(metric):
    """The standard error must not fall with repeats of one measurement."""
    name = {"gram_error": "population", "depth_error": "exchange"}[metric]
    noise = (1.1, 0.9, 1.0, 0.95, 1.08, 1.0)
    values = zip((16, 64, 256) * 2, noise, strict=True)
    summaries = [(width, {f"theory/{metric}": width**-0.5 * each}) for width, each in values]

    def trained(*etas):
        return [
            trial(summary | {"train/eta": eta}, width, seed=seed, eta=eta)
            for eta in etas
            for seed, (width, summary) in enumerate(summaries)
        ]

    once, often = finding(name, *trained(0.1)), finding(name, *trained(0.1, 0.2, 0.4, 0.8))
    assert once == often
    assert (once.count, once.of) == (6, "networks")


@pytest.mark.parametrize("metric", ["gram_error", "depth_error"])
def test_activations_of_one_draw_are_one_point_of_the_fit(metric):
    """Their errors are those of the same random numbers."""
    name = {"gram_error": "population", "depth_error": "exchange"}[metric]
    noise = (1.1, 0.9, 1.0, 0.95, 1.08, 1.0)

    def networks(activation, scale):
        return [
            trial(
                {f"theory/{metric}": scale * width**-0.5 * each},
                width,
                seed=seed,
                activation=activation,
            )
            for seed, (width, each) in enumerate(zip((16, 64, 256) * 2, noise, strict=True))
        ]

    one = finding(name, *networks("tanh", 1.0))
    both = finding(name, *networks("tanh", 1.0), *networks("relu", 7.0))
    assert (one.measured, 2 * one.count) == (both.measured, both.count)
    # Without one network: its draw has the law of the other activation alone.
    assert finding(name, *networks("tanh", 1.0), *networks("relu", 7.0)[1:]).count == 11


def test_a_probability_is_stated_of_one_activation_only():
    metrics = {"theory/lambda_0_over_m": 0.9, "theory/lambda_star": 1.0}
    same = [trial(metrics, seed=seed) for seed in range(5)]
    mixed = [trial(metrics, seed=seed, activation="relu") for seed in range(5)]
    assert "probability" in finding("initial", *same).measured
    assert "probability" not in finding("initial", *same, *mixed).measured


def test_the_first_result_of_each_network_is_taken():
    failed, first, again = trial({}, 64), trial({"a": 1.0}, 64, eta=0.1), trial({"a": 2.0}, 64)
    other = trial({"a": 3.0}, 128)
    assert once([failed, first, other, again], OF_NETWORK) == [first, other]
    assert once([first, other], OF_KERNEL) == [first]


def test_an_interval_of_three_points_is_as_wide_as_one_degree_of_freedom_makes_it():
    """Three standard errors are left by chance once in five times there."""
    rows = [(16, 1.0), (64, 1.01), (256, 1.0)]
    trials = [trial({"theory/gram_error": each * width**-0.55}, width) for width, each in rows]
    law = deq.power_law([16, 64, 256], [each * width**-0.55 for width, each in rows])
    assert 3 * law.stderr < 0.05 < law.margin
    assert finding("population", *trials).verdict == "not tested"


def test_a_kernel_counts_once_however_many_networks_have_it():
    def at(d, width, seed):
        summary = {"theory/equivalent_error": 3 * d**-0.6 * (1 + 0.01 * (d == 128))}
        return trial(summary, width, seed=seed, data={"d": d, "n": d})

    dimensions = (64, 128, 256, 512)
    once = finding("equivalent", *(at(d, 64, 0) for d in dimensions))
    many = [at(d, width, seed) for d in dimensions for width in (64, 128) for seed in range(3)]
    assert once == finding("equivalent", *many)
    assert (once.count, once.of) == (4, "kernels")


def test_a_report_lists_the_claims_that_its_trials_speak_of():
    stopped = trial(HELD | least(0.1), status="stopped")
    failed = trial({}, status="failed")
    assert scorecard([stopped, failed]) == []
    (only,) = scorecard([trial(HELD | least(0.75)), stopped, failed])
    assert (only.claim.name, only.finding.count) == ("lambda", 1)


@pytest.mark.slow
def test_verify_launches_its_experiments_and_prints_every_claim(tmp_path):
    words = ["verify", "cluster=inline", "model.width=8,16", "data.n=4", "seed=0", "train.steps=6"]
    words += ["model.max_draws=2", "model.activation=tanh"]
    done = inside(*words, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert list(rows) == list(BY_NAME)
    assert rows["optimum"]["verdict"] == "not tested"
    assert (rows["initial"]["count"], rows["initial"]["of"]) == (2, "networks")
    again = inside(*words, cwd=tmp_path)
    assert again.returncode == 0
    assert again.stdout.count("nothing to do") == 9
    assert all(claim.text in again.stdout for claim in CLAIMS)


def test_verify_has_experiments_of_its_own(tmp_path):
    done = inside("verify", "experiment=quickstart", cwd=tmp_path)
    assert done.returncode == 2
    assert "leave experiment= out" in done.stderr
    assert not list(tmp_path.iterdir())
