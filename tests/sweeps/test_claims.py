"""The scorecard of the theory's claims: what networks show, and `sweeps verify`."""

import itertools
import json

import pytest
from claim_trials import BY_NAME, finding, trial
from command import inside

import deq
from sweeps.reports.claims import CLAIMS, scorecard
from sweeps.reports.networks import OF_KERNEL, OF_NETWORK, once

HELD = {"theory/condition_held": 1.0}
NOT = {"theory/condition_held": 0.0}


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


def ratios(*values, width=128, **more):
    """One network for each lambda_0 / (m lambda_*)."""
    return [
        trial(
            {"theory/lambda_0_over_m": 2 * value, "theory/lambda_star": 2.0},
            width,
            seed=seed,
            **more,
        )
        for seed, value in enumerate(values)
    ]


def test_the_initial_eigenvalue_is_compared_at_the_greatest_width():
    narrow, wide = ratios(*[0.3] * 6, width=64), ratios(*[0.9] * 4, 0.4, 0.5)
    evidence = finding("initial", *narrow, *wide)
    assert (evidence.verdict, evidence.count) == ("seen in 5 of 6", 6)
    assert evidence.measured.startswith("lambda_0 / (m lambda_*) from 0.3;")
    # Clopper and Pearson
    assert evidence.measured.endswith("in 5 of 6 (probability 0.359 to 0.996, 95 %)")


def test_the_initial_eigenvalue_is_compared_in_random_networks_with_as_many_neurons_as_samples():
    wide = ratios(*[0.9] * 5)
    flat = ratios(*[0.0] * 5, width=256, data={"n": 300})
    chosen = ratios(*[0.9] * 5, width=256, init="redraw")
    assert finding("initial", *wide, *flat, *chosen) == finding("initial", *wide)
    assert finding("initial", *flat, *chosen).measured == ""


def test_few_networks_state_their_probability_and_decide_nothing():
    evidence = finding("initial", *ratios(*[0.9] * 4))
    assert (evidence.verdict, evidence.count) == ("not tested", 4)
    # 0.025^(1/4)
    assert "in 4 of 4 (probability 0.398 to 1, 95 %)" in evidence.measured
    assert evidence.measured.endswith("fewer than 5 seeds decide nothing")
    few_of_one = [*ratios(*[0.9] * 5), *ratios(*[0.9] * 4, activation="relu")]
    assert finding("initial", *few_of_one).verdict == "not tested"


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


def test_redrawing_that_gives_up_counts_against_it():
    def networks(width, *drawn, status="budget"):
        counts = enumerate(drawn, start=10 * len(status))
        return [
            trial({"theory/networks_drawn": float(k)}, width, seed=seed, status=status)
            for seed, k in counts
        ]

    few, many = networks(64, 7, 3), networks(128, 4, 2, 6)
    lost = networks(128, 30, status="rejected")
    evidence = finding("redraw", *few, *many, *lost, trial({}, 128))
    assert evidence.verdict == "seen in 5 of 6"
    assert evidence.measured.endswith("average: 5 at width 64, 4 (1 of 4 rejected) at width 128")
    none = networks(32, 30, 30, status="rejected")
    evidence = finding("redraw", *none, *many)
    assert "average: none accepted in 30 draws at width 32, 4 at width 128" in evidence.measured


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


def test_a_probability_is_stated_of_each_activation():
    tanh, relu = ratios(*[0.9] * 5), ratios(*[0.9] * 5, 0.1, activation="relu")
    both = finding("initial", *tanh, *relu)
    assert both.verdict == "seen in 10 of 11"
    assert "(probability: tanh 0.478 to 1, relu 0.359 to 0.996, 95 %)" in both.measured
    other = ratios(*[0.9] * 5, data={"n": 8, "seed": 1})
    assert (
        "each of 2 groups of seeds at least 0.478, 95 %"
        in finding("initial", *tanh, *other).measured
    )


@pytest.mark.parametrize(
    ("name", "metric"), [("population", "gram_error"), ("exchange", "depth_error")]
)
def test_networks_that_were_chosen_say_nothing_about_random_ones(name, metric):
    def networks(power, init):
        return [
            trial({f"theory/{metric}": m**power * (1 + 0.01 * (-1) ** k)}, m, seed=k, init=init)
            for m in (32, 128, 512)
            for k in range(2)
        ]

    drawn, chosen = networks(-0.5, "normal"), networks(-0.2, "redraw")
    assert finding(name, *drawn, *chosen) == finding(name, *drawn)
    assert finding(name, *chosen).measured == ""


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
    evidence = finding("population", *trials)
    assert (evidence.verdict, evidence.count) == ("not tested", 3)
    assert evidence.measured.endswith("99.73 %): too wide an interval to decide")
    assert finding("population", *trials[:2]).measured.startswith("too few to fit")
    assert finding("population", *trials[:1]).measured == ""


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
    assert (rows["initial"]["count"], rows["initial"]["of"]) == (1, "networks")
    again = inside(*words, cwd=tmp_path)
    assert again.returncode == 0
    assert again.stdout.count("nothing to do") == 9
    assert all(claim.text in again.stdout for claim in CLAIMS)


def test_verify_has_experiments_of_its_own(tmp_path):
    done = inside("verify", "experiment=quickstart", cwd=tmp_path)
    assert done.returncode == 2
    assert "leave experiment= out" in done.stderr
    assert not list(tmp_path.iterdir())
