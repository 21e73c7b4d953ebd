"""Keys that have a meaning only beside a value of another key, in sweeps that have both values."""

import pytest

from sweeps.config.conditional_keys import CONDITIONAL_KEYS, without_meaningless
from sweeps.config.hashing import config_hash
from sweeps.config.request import request
from sweeps.errors import ConfigError

# For each key, the values of the other key without and with its meaning, and a value of its own.
CASES = {
    "train.integrator_tol": ("train.integrator", "steps", "windows", 1e-5),
    "train.factor_bias": ("data.bias", 0, 0.5, 3),
    "data.label_seed": ("data.labels", "own", "uniform", 4),
}


def hashes(*overrides: object) -> list[str]:
    """Hashes of the trials of a command."""
    return [config_hash(t.trial) for t in request([str(o) for o in overrides]).trials]


def test_each_conditional_key_has_a_case():
    """A key that is added to the table is tested here."""
    assert set(CASES) == {key for key, _, _ in CONDITIONAL_KEYS}


@pytest.mark.parametrize("key", CASES)
def test_a_conditional_key_is_for_the_trials_in_which_it_has_its_meaning(key):
    """A sweep over both values has the trials of two commands, one with and one without the key."""
    other, without, beside, value = CASES[key]
    both = hashes(f"{other}={without},{beside}", f"{key}={value}")
    assert both == hashes(f"{other}={without}") + hashes(f"{other}={beside}", f"{key}={value}")
    assert both[1] != hashes(f"{other}={beside}")[0]


@pytest.mark.parametrize("key", CASES)
def test_a_conditional_key_that_means_nothing_in_the_whole_sweep_is_refused(key):
    """The message is that of a single trial."""
    other, without, _, value = CASES[key]
    with pytest.raises(ConfigError, match=f"{key.split('.')[1]} has no meaning with"):
        hashes(f"{other}={without}", f"{key}={value}", "model.width=16,32")


def test_points_without_a_conditional_key_are_the_same_objects():
    """A sweep of thousands copies no config that does not change."""
    points = [{"train": {"integrator": name}, "data": {}} for name in ("steps", "windows")]
    assert all(a is b for a, b in zip(points, without_meaningless(points), strict=True))
