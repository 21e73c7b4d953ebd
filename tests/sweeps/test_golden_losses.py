"""Losses of networks and data that a hash stands for: they do not change from version to version.

A hash promises its result. If other random numbers were drawn, or the data prepared otherwise,
an old hash would have another result, and no golden hash would tell.
"""

import pytest
import torch

import deq
import sweeps

SMALL = ["data.n=12", "model.width=24", "train.steps=20", "solver.tol=1e-12"]
REDRAW = ["experiment=redraw", "model.width=320", "seed=2"]
# Loss at step 0 and at the last step.
LOSSES = {
    "": (15.82603020472851, 0.04839192285248166),
    "data=sphere": (16.691542858035604, 0.018473239094041097),
    "model.activation=tanh seed=3": (8.957196878140904, 0.2642690648350902),
    "data=orthonormal model.activation=gelu": (5.132218386404576, 2.7164662988533925e-05),
    "data.labels=uniform data.label_seed=5": (4.926763418582093, 0.07185265556139149),
    "data.bias=0.5": (10.322076248115199, 0.2105354254565489),
    "train.momentum=0.5 train.eta=0.2": (15.82603020472851, 0.06930698811092553),
    "train.batch=5 train.eta=0.2": (15.82603020472851, 0.2728193651580788),
    "train.factor_w=1/m train.factor_u=1/d": (15.82603020472851, 0.13025677999331123),
    "train.integrator=windows model.activation=tanh": (21.01016579430997, 0.12254626071758176),
}


def losses(overrides, device="cpu"):
    trajectory = deq.train(sweeps.compose(overrides), device=device).trajectory["loss"]
    return trajectory[[0, -1]].tolist()


# Another BLAS rounds otherwise; twenty steps keep that below 1e-9.
@pytest.mark.parametrize("words", LOSSES)
def test_a_trial_has_the_losses_that_it_always_had(words):
    assert losses([*SMALL, *words.split()]) == pytest.approx(LOSSES[words], rel=1e-8)


def test_the_network_that_is_kept_of_several_is_the_same():
    outcome = deq.train(sweeps.compose(REDRAW))
    assert outcome.summary["theory/networks_drawn"] == 7
    expected = pytest.approx([0.00686652712871911, 0.006831134741693239], rel=1e-8)
    assert outcome.trajectory["loss"].tolist() == expected


def test_float32_begins_with_the_rounded_network():
    words = [*SMALL, "dtype=float32", "solver.tol=1e-6"]
    assert losses(words) == pytest.approx(LOSSES[""], rel=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("words", LOSSES)
def test_a_gpu_begins_with_the_same_network(words):
    assert losses([*SMALL, *words.split()], "cuda") == pytest.approx(LOSSES[words], rel=1e-7)
