"""Plans: what is set aside, what is packed with what, what cannot fit."""

import pytest

import deq
from sweeps.config.hashing import both_hashes, set_hash
from sweeps.config.request import request
from sweeps.errors import ConfigError
from sweeps.planning.groups import grouped
from sweeps.planning.plan import (
    PlannedTrial,
    axes_of,
    cost,
    main_axis,
    plan,
    trials_of,
)

SMALL = ["data.n=8", "model.width=16"]


def trial(digest, *, width=16, steps=10, dtype="float64", n=8, pack=16):
    """A planned trial without a composed config."""
    plain = {
        "model": {"width": width, "activation": "tanh", "init": "gaussian", "sigma_a": 1.0},
        "data": {"name": "digits", "n": n},
        "train": {"steps": steps, "loss_tol": 0.0},
        "solver": {"tol": 1e-8},
        "dtype": dtype,
        "diagnostics": {"every": 10},
    }
    return PlannedTrial(digest * 64, "c" * 64, digest, {"seed": 0}, plain, 100, pack)


def planned(trials, **more):
    return [[one.name for one in pack] for pack in plan(trials, study="s", **more).packs]


def packs(overrides, workers=1, **more):
    trials = trials_of(request([*SMALL, *overrides]))
    planned_packs = plan(trials, study="s", workers=workers, **more).packs
    return [[trial.name for trial in pack] for pack in planned_packs]


def test_alike_trials_are_packed_and_no_others():
    groups = packs(["model.activation=relu,tanh", "model.width=16,512", "seed=range(0,3)"])
    assert sorted(len(pack) for pack in groups) == [1, 1, 1, 1, 1, 1, 3, 3]
    for pack in groups:
        assert len({name.rsplit(" ", 1)[0] for name in pack}) == 1
        assert len(pack) == 1 or "width=16" in pack[0]


def test_packs_leave_work_for_every_worker():
    assert [len(pack) for pack in packs(["seed=range(0,8)"])] == [4, 4]
    assert [len(pack) for pack in packs(["seed=range(0,8)"], workers=2)] == [2, 2, 2, 2]
    assert [len(pack) for pack in packs(["seed=range(0,100)"])] == [16] * 6 + [4]


def test_pack_1_forbids_it_and_a_number_asks_for_it():
    assert {len(pack) for pack in packs(["seed=range(0,8)"], pack=1)} == {1}
    assert [len(pack) for pack in packs(["seed=range(0,8)"], pack=8)] == [8]


def test_finished_and_failed_trials_are_not_planned():
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


def test_a_plan_holds_what_it_was_given_and_counts_what_is_left():
    trials = [trial("a"), trial("b"), trial("c"), trial("d")]
    hashes = [one.config_hash for one in trials]
    made = plan(
        trials, study="s", pack=2, finished=hashes[:2], failed=hashes[1:3], sweep="name", more=5
    )
    assert (made.sweep, made.study, made.trials, made.more) == ("name", "s", trials, 5)
    assert made.finished == {hashes[0], hashes[1]}
    assert made.failed == {hashes[2]}
    assert made.left == 1
    assert made.hashes == [[hashes[3]]]
    assert trials[0].short_hash == "a" * 12
    unnamed = plan(trials, study="s", pack=1)
    assert unnamed.sweep == set_hash(hashes)
    assert (unnamed.finished, unnamed.failed, unnamed.more) == (frozenset(), frozenset(), 0)
    assert unnamed.left == 4


def test_auto_packs_hold_at_most_what_is_worth_it_and_leave_two_for_every_worker():
    eight = [trial(digit, pack=3) for digit in "01234567"]
    assert [len(pack) for pack in planned(eight)] == [3, 3, 2]
    assert [len(pack) for pack in planned(eight, workers=2)] == [2, 2, 2, 2]
    assert [len(pack) for pack in planned(eight, workers=50)] == [1] * 8
    assert [len(pack) for pack in planned([trial("a", pack=0), trial("b", pack=0)])] == [1, 1]
    assert planned([trial(digit, pack=9) for digit in "012"]) == [["0", "1"], ["2"]]
    assert [len(pack) for pack in planned(eight, pack=5)] == [5, 3]
    assert planned([trial("a")]) == [["a"]]


@pytest.mark.parametrize(
    "other", [{"width": 32}, {"steps": 20}, {"dtype": "float32"}, {"n": 9}], ids=str
)
def test_trials_of_another_shape_or_budget_are_in_packs_of_their_own(other):
    mixed = [trial("a"), trial("b", **other), trial("c"), trial("d", **other)]
    assert sorted(planned(mixed, pack=8)) == [["a", "c"], ["b", "d"]]


def test_packs_with_a_checkpoint_stay_together_where_they_can():
    trials = [trial(digit) for digit in "abcde"]
    two = [[one.config_hash for one in trials[1:3]]]
    assert sorted(planned(trials, pack=2, checkpointed=two)) == [["a", "d"], ["b", "c"], ["e"]]
    assert sorted(planned(trials, pack="auto", workers=9, checkpointed=two)) == [
        ["a"],
        ["b", "c"],
        ["d"],
        ["e"],
    ]
    assert sorted(map(len, planned(trials, pack=1, checkpointed=two))) == [1] * 5
    assert sorted(map(len, planned(trials, pack=1, checkpointed=[[]]))) == [1] * 5
    both = [[one.config_hash for one in trials[:2]]]
    assert planned(trials[:2], workers=9, checkpointed=both) == [["a", "b"]]
    gone = [[trials[0].config_hash, "f" * 64]]
    assert sorted(map(len, planned(trials, pack=2, checkpointed=gone))) == [1, 2, 2]
    finished = [trials[1].config_hash]
    assert planned(trials, pack=4, checkpointed=two, finished=finished) == [["a", "c", "d", "e"]]
    one = [[trials[4].config_hash], *two]
    assert sorted(planned(trials, pack=2, checkpointed=one)) == [["a", "d"], ["b", "c"], ["e"]]


def test_the_longest_packs_come_first():
    trials = [trial("a"), trial("b", width=32), trial("c", steps=100), trial("d", n=9)]
    assert planned(trials, pack=1) == [["c"], ["b"], ["d"], ["a"]]
    three = [trial("a"), trial("b"), trial("c"), trial("d", steps=25)]
    assert planned(three, pack=3) == [["a", "b", "c"], ["d"]]


def test_the_cost_of_a_trial_is_width_squared_times_samples_times_steps():
    assert cost(trial("a", width=3, n=5, steps=7).plain) == 9 * 5 * 7
    assert type(cost(trial("a").plain)) is float


def test_axes_hold_each_value_once_in_order_of_appearance():
    varying = [{"seed": 1, "w": 2}, {"seed": 0, "w": 2}, {"seed": 1, "w": 2.0}, {"t": "a"}]
    assert axes_of(varying) == {"seed": [1, 0], "w": [2, 2.0], "t": ["a"]}


@pytest.mark.parametrize(
    ("varying", "axis"),
    [
        ([{"w": 1, "t": 1}, {"w": 2, "t": 1}], "w"),
        ([{"t": 1, "w": 1}, {"t": 1, "w": 2}], "w"),
        ([{"seed": 1, "w": 1}, {"seed": 2, "w": 1}], "w"),
        ([{"data.seed": 1}, {"data.seed": 2}], None),
        ([{"data.part.seed": 1}, {"data.part.seed": 2}], None),
        ([{"w": 1}, {"w": "a"}], None),
        ([{"w": True}, {"w": False}], None),
        ([{"w": 1, "t": 1}, {"w": 2}, {"w": 1}], "w"),
        ([{"t": 1}, {"w": 2}], None),
        ([], None),
    ],
)
def test_the_main_axis_is_the_one_with_most_numbers(varying, axis):
    assert main_axis(varying) == axis


def test_the_main_axis_may_be_asked_for_of_a_type():
    varying = [{"model.width": 1, "eta": 0.5}, {"model.width": 1, "eta": 0.25}]
    assert main_axis(varying) == "eta"
    assert main_axis(varying, int) == "model.width"


def test_trials_are_planned_once_with_their_hashes_names_and_needs():
    asked = request([*SMALL, "seed=0,1", "model.width=16,16"])
    planned = trials_of(asked)
    assert [one.name for one in planned] == ["seed=0 width=16", "seed=1 width=16"]
    first = asked.trials[0]
    assert (planned[0].config_hash, planned[0].cell_hash) == both_hashes(first.trial)
    assert planned[0].varying == first.varying
    assert planned[0].plain["model"]["width"] == 16
    assert planned[0].bytes == deq.memory(first.trial, *first.shape, "cpu")
    assert planned[0].pack == deq.pack_size(first.trial, *first.shape, "cpu")


def test_names_tell_the_sweeps_keys_from_further_ones():
    asked = request([*SMALL, "data.n=8,9"])
    assert [one.name for one in trials_of(asked)] == ["n=8", "n=9"]
    assert [one.name for one in trials_of(asked, ["other.n"])] == ["data.n=8", "data.n=9"]


@pytest.mark.parametrize("cluster", ["inline", "ray"])
def test_only_the_memory_of_this_machine_is_a_limit(monkeypatch, cluster):
    monkeypatch.setattr(deq, "memory_of", lambda device: 1)
    to = ["cluster.address=127.0.0.1:1"] if cluster == "ray" else []
    asked = request([*SMALL, f"cluster={cluster}", *to])
    if cluster == "ray":
        assert len(trials_of(asked)) == 1
        return
    with pytest.raises(ConfigError, match=r"take dtype=float32, or take a larger machine$"):
        trials_of(asked)
    with pytest.raises(ConfigError, match=r"or data\.n, or take a larger machine$"):
        trials_of(request([*SMALL, "cluster=inline", "dtype=float32", "solver.tol=1e-4"]))


@pytest.mark.parametrize(
    ("gpus", "there", "device", "share"),
    [(0, True, "cpu", 1), (1, False, "cpu", 1), (0.5, True, "cuda", 0.5), (2, True, "cuda", 1)],
)
def test_needs_are_those_of_the_device_that_trains(monkeypatch, gpus, there, device, share):
    """Packs that share a GPU share its memory."""
    seen = []
    monkeypatch.setattr(deq, "hardware", lambda: {"gpu": "a GPU" if there else ""})
    monkeypatch.setattr(deq, "memory_of", lambda device: seen.append(device) or 1000)
    needed = 1000 * share
    monkeypatch.setattr(deq, "memory", lambda *given: seen.append(given[-1]) or needed)
    monkeypatch.setattr(deq, "pack_size", lambda *given: seen.extend(given[-2:]) or 1)
    asked = request([*SMALL, f"cluster.gpus_per_trial={gpus}"])
    trials_of(asked)
    assert seen == [device, device, device, share]
    needed += 1
    with pytest.raises(ConfigError, match="of memory, and there are"):
        trials_of(asked)


def test_groups_keep_the_order_and_a_dicts_order_does_not_count():
    rows = [{"a": 1, "b": 2}, {"a": 1, "b": "2"}, {"b": 2, "a": 1}]
    assert grouped(rows, lambda row: row) == [(rows[0], [rows[0], rows[2]]), (rows[1], [rows[1]])]
    assert grouped([3, 1, 2, 5], lambda number: number % 2) == [(1, [3, 1, 5]), (0, [2])]
