"""Plans: what is set aside, what is packed with what, what cannot fit."""

import pytest

import deq
from sweeps.config.request import request
from sweeps.errors import ConfigError
from sweeps.planning.plan import plan, trials_of

SMALL = ["data.n=8", "model.width=16"]


def packs(overrides, workers=1, **more):
    trials = trials_of(request([*SMALL, *overrides]))
    found = plan(trials, study="s", workers=workers, **more).packs
    return [[trial.name for trial in pack] for pack in found]


def test_alike_trials_are_packed_and_no_others():
    found = packs(["model.activation=relu,tanh", "model.width=16,512", "seed=range(0,3)"])
    assert sorted(len(pack) for pack in found) == [1, 1, 1, 1, 1, 1, 3, 3]
    for pack in found:
        assert len({name.rsplit(" ", 1)[0] for name in pack}) == 1
        assert len(pack) == 1 or "width=16" in pack[0]


def test_packs_leave_work_for_every_worker():
    assert [len(pack) for pack in packs(["seed=range(0,8)"])] == [4, 4]
    assert [len(pack) for pack in packs(["seed=range(0,8)"], workers=2)] == [2, 2, 2, 2]
    assert [len(pack) for pack in packs(["seed=range(0,100)"])] == [16] * 6 + [4]


def test_pack_1_forbids_it_and_a_number_asks_for_it():
    assert {len(pack) for pack in packs(["seed=range(0,8)"], pack=1)} == {1}
    assert [len(pack) for pack in packs(["seed=range(0,8)"], pack=8)] == [8]


def test_what_is_finished_or_failed_is_set_aside():
    trials = trials_of(request([*SMALL, "seed=range(0,4)"]))
    hashes = [trial.config_hash for trial in trials]
    made = plan(trials, study="s", pack=1, finished=hashes[:1], failed=hashes[:2])
    assert [trial.name for pack in made.packs for trial in pack] == ["seed=2", "seed=3"]
    assert [made.state(trial) for trial in trials] == [
        "finished",
        "failed before",
        "to train",
        "to train",
    ]


def test_a_trial_that_cannot_fit_is_refused_with_what_it_needs(monkeypatch):
    asked = request(["model.width=16,2000"])
    need = deq.memory(asked.trials[1].trial, 64, 64)
    monkeypatch.setattr(deq, "memory_of", lambda device: need)
    assert len(trials_of(asked)) == 2
    monkeypatch.setattr(deq, "memory_of", lambda device: need - 1)
    with pytest.raises(ConfigError, match=r"width=2000: .* needs 6\d\.?\d* MB .*lower model.width"):
        trials_of(asked)
