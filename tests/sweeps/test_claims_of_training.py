"""Claims of the theory about training: where it ends, at which rate, what the width changes."""

import itertools

import pytest
import torch
from claim_trials import finding, trial

import deq

ABLE = {"rate/bound": 0.01}  # lambda_0 > 0
SLOWEST = "rate/measured_end_over_asymptotic"


def test_a_global_optimum_is_asked_for_and_reached():
    reached = trial(ABLE | {SLOWEST: 1.05}, loss_tol=1e-20, status="converged")
    slow = trial(ABLE | {SLOWEST: 1.2}, loss_tol=1e-20, status="converged", seed=1)
    cut = trial(ABLE | {SLOWEST: 1.2}, loss_tol=1e-20, status="stalled", seed=2)
    short = trial(ABLE | {SLOWEST: 1.2}, loss_tol=1e-20, seed=3)
    easy = trial(ABLE | {SLOWEST: 1.05}, loss_tol=1e-6, status="converged", seed=4)
    assert finding("optimum", reached, slow, cut, short, easy).verdict == "seen in 2 of 3"
    assert finding("final_rate", reached, slow, cut, easy).verdict == "seen in 1 of 2"
    for name, alone in (("optimum", short), ("optimum", easy), ("final_rate", easy)):
        assert finding(name, alone).measured == ""


def test_a_network_whose_labels_may_be_out_of_reach_says_nothing_about_the_optimum():
    """lambda_0 = 0: more samples than dimensions and the identity, or one neuron."""
    singular = trial({"theory/lambda_0": 0.0}, loss_tol=1e-20, status="stalled", seed=1)
    reached = trial(ABLE, loss_tol=1e-20, status="converged")
    assert finding("optimum", singular).verdict == "not tested"
    assert finding("optimum", reached, singular).verdict == "seen"


@pytest.mark.parametrize("unit", ["absolute", "population", "tangent"])
def test_a_step_size_is_compared_with_the_limit_of_stability_in_every_unit(unit):
    data = deq.SphereConfig(n=5, d=9)
    model = deq.ModelConfig(width=24, activation="softplus")
    config = deq.TrialConfig(data=data, model=model, train=deq.TrainConfig(eta_unit="absolute"))
    known = deq.forecast(config)
    limit = 2 / float(torch.linalg.eigvalsh(known.initial.tangent)[-1])

    def at(share):
        summary = known.theory()[0] | {"train/eta": share * limit} | ABLE
        typed = {"absolute": share * limit, "population": 1.0, "tangent": share}[unit]
        return trial(summary, loss_tol=1e-20, status="diverged", eta=typed, eta_unit=unit)

    assert finding("optimum", at(0.9999)).verdict == "not seen"
    assert finding("optimum", at(1.0001)).verdict == "not tested"


@pytest.mark.parametrize("method", [{"momentum": 0.5}, {"batch": 2}])
def test_momentum_and_batches_are_no_plain_gradient_descent(method):
    def ended(**more):
        summary = ABLE | {SLOWEST: 1.0}
        return [trial(summary, loss_tol=1e-20, status="converged", **more)]

    def drifting(**more):
        summaries = [{"train/eta": eta, "theory/sphere_drift": eta} for eta in (0.1, 0.2, 0.4)]
        return [trial(each, status="converged", activation="relu", **more) for each in summaries]

    for name, trials in (
        ("optimum", ended),
        ("final_rate", ended),
        ("sphere", drifting),
        ("linearised", falling("linearised")),
        ("drift", falling("drift")),
    ):
        assert finding(name, *trials()).verdict == "seen"
        assert finding(name, *trials(**method)).measured == ""
        assert finding(name, *trials(), *trials(**method)) == finding(name, *trials())


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
    # No active sample; 0 outside the inputs' convex hull.
    still = trial({"theory/minimum_distance": 2.0, "train/distance": 0.0}, 1, 0.0, "stalled", 6)
    biased = {"theory/minimum_distance": 2.0, "train/distance": 1.0}
    away = trial(biased, 1, 0.0, "stalled", 7, data={"n": 8, "bias": 0.3})
    assert finding("single_index", good, still, away).verdict == "seen"


def falling(name, power=-1.0, noise=0.05):
    """Return a function that makes trials of three seeds and widths whose quantity is a power."""

    def trials(**more):
        made = []
        for width, seed in itertools.product((64, 128, 256), range(3)):
            value = 0.3 * (width / 64) ** power * (1 + noise * (-1) ** (seed + width // 128))
            rate = {"rate/measured": 0.2, "rate/linearized": 0.2}
            key = {"drift": "theory/kernel_drift", "linearised": "rate/measured_over_linearized"}
            made.append(
                trial(rate | {key[name]: value + (name == "linearised")}, width, seed=seed, **more)
            )
        return made

    return trials


@pytest.mark.parametrize("name", ["linearised", "drift"])
def test_a_quantity_falls_with_the_width_if_its_exponent_is_known_to_be_negative(name):
    assert finding(name, *falling(name)()).verdict == "seen"
    assert finding(name, *falling(name, 0.5)()).verdict == "not seen"
    assert finding(name, *falling(name, 0.0)()).verdict == "not seen"
    noisy = finding(name, *falling(name, -0.2, 0.6)())
    assert (noisy.verdict, noisy.count) == ("not tested", 9)
    assert noisy.measured.endswith("99.73 %): too wide an interval to decide")
    one_seed = [each for each in falling(name)() if each.planned.plain["seed"] == 0]
    two = finding(name, *one_seed[:2])
    assert two.measured == "too few to fit an exponent with an error"
    assert finding(name, one_seed[0]).measured == ""


def test_a_network_that_is_trained_twice_has_one_kernel_drift():
    once = falling("drift")()
    assert finding("drift", *once, *falling("drift")(eta=0.1)) == finding("drift", *once)


@pytest.mark.parametrize("status", ["diverged", "ill_posed", "rejected"])
def test_the_kernel_of_a_trial_that_went_wrong_says_nothing(status):
    wrong = [trial({"theory/kernel_drift": 9.0}, 512, seed=seed, status=status) for seed in (0, 1)]
    assert finding("drift", *falling("drift")(), *wrong) == finding("drift", *falling("drift")())


def test_a_rate_is_not_divided_by_that_of_a_linearised_model_that_does_not_converge():
    rates = {"rate/measured": 0.2, "rate/linearized": 1e-9, "rate/measured_over_linearized": 2e8}
    none = [trial(rates, 512, seed=seed) for seed in range(3)]
    fair = falling("linearised")()
    assert finding("linearised", *fair, *none) == finding("linearised", *fair)
    assert finding("linearised", *fair[:3], *none).measured == ""
