"""Lost packs are trained again, whole or in parts; out of memory halves a pack once."""

import time

import pytest

import deq
from sweeps.config.request import request
from sweeps.execution import worker
from sweeps.execution.events import Done, Failed, Note, Progress, Stopped
from sweeps.execution.retry import (
    NOTICED,
    FailureCause,
    LostPack,
    train_with_retries,
)
from sweeps.execution.worker import run_pack
from sweeps.execution.worker_errors import parse_worker_error
from sweeps.planning.packs import half, split_pack
from sweeps.planning.plan import trials_of
from sweeps.storage.record import Record
from sweeps.storage.stop_requests import SWEEP, StopRequest, StopRequests


def planned(count):
    return trials_of(request(["data.n=8", "model.width=16", f"seed=range(0,{count})"]))


def done(one):
    return Done(Record(one.config_hash, "", {}, "budget", "", {}, {}, "cpu", 0, 0, {}, {}))


class Workers:
    """Fake that trains packs at once; packs for which `loses` is true are lost."""

    def __init__(self, loses, cause=FailureCause.WORKER):
        self.loses, self.cause, self.asked = loses, cause, []

    def fit(self, packs, retries):
        for pack in packs:
            self.asked.append((len(pack), retries))
            if self.loses(pack):
                yield LostPack(pack, "its worker died", self.cause)
            else:
                yield from (done(one) for one in pack)


def endings(messages):
    return [isinstance(message, Done) for message in messages if not isinstance(message, Note)]


def test_a_trial_that_kills_its_worker_does_not_fail_the_others():
    trials = planned(4)
    workers = Workers(lambda pack: trials[2] in pack)
    messages = list(train_with_retries([trials[:2], trials[2:]], 2, workers.fit))
    assert workers.asked == [(2, 2), (2, 2), (1, 0), (1, 0)]
    (failed,) = [message for message in messages if isinstance(message, Failed)]
    assert failed.config_hash == trials[2].config_hash
    assert not failed.final
    (note,) = [message for message in messages if isinstance(message, Note)]
    assert note.text == "pack of 2: its worker died; its trials are trained again one by one"
    assert len(messages) == 5


def test_a_pack_out_of_memory_is_halved_once_and_then_reports_its_need():
    trials = planned(5)
    workers = Workers(lambda pack: len(pack) > 1, FailureCause.MEMORY)
    messages = list(train_with_retries([trials], 2, workers.fit))
    assert workers.asked == [(5, 2), (3, 0), (2, 0)]
    assert endings(messages) == [False] * 5
    assert messages[0].text.endswith("its trials are trained again in packs of at most 3")
    assert messages[1].error.startswith("its worker died: 3 trials together need about")
    assert "lower pack" in messages[1].error


def test_a_lost_single_trial_is_not_trained_again():
    workers = Workers(lambda pack: True)
    assert endings(train_with_retries([[one] for one in planned(2)], 1, workers.fit)) == [
        False,
        False,
    ]
    assert workers.asked == [(1, 1), (1, 1)]


def test_a_trial_that_ended_before_its_pack_was_lost_ends_once():
    trials = planned(3)

    def fit(packs, retries):
        for pack in packs:
            yield done(pack[0])
            yield done(pack[0])  # as a retried pack does
            if len(pack) > 1:
                yield LostPack(pack, "its worker died")

    messages = list(train_with_retries([trials], 1, fit))
    ended = [m.record.config_hash for m in messages if isinstance(m, Done)]
    assert ended == [one.config_hash for one in trials]


def test_a_pack_whose_node_died_is_trained_again_unchanged(monkeypatch):
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    workers = Workers(lambda pack: len(workers.asked) == 1, FailureCause.NODE)
    assert endings(train_with_retries([planned(3)], 2, workers.fit)) == [True] * 3
    assert workers.asked == [(3, 2), (3, 2)]
    assert waited == [NOTICED]


def test_every_trial_that_is_lost_for_good_says_how(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    workers = Workers(lambda pack: True)
    messages = list(train_with_retries([planned(3)], 2, workers.fit))
    assert workers.asked == [(3, 2), (1, 0), (1, 0), (1, 0)]
    failed = [(m.error, m.final) for m in messages if isinstance(m, Failed)]
    assert failed == [("its worker died", False)] * 3
    workers = Workers(lambda pack: True, FailureCause.NODE)
    assert endings(train_with_retries([planned(3)], 2, workers.fit)) == [False] * 3
    assert workers.asked == [(3, 2), (3, 2)]


@pytest.mark.parametrize(
    ("cause", "pauses"), [(FailureCause.WORKER, []), (FailureCause.NODE, [NOTICED])]
)
def test_all_lost_packs_are_trained_again(monkeypatch, cause, pauses):
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    trials = planned(4)
    workers = Workers(lambda pack: len(workers.asked) <= 2, cause)
    ended = endings(train_with_retries([trials[:2], trials[2:]], 1, workers.fit))
    assert ended == [True] * 4
    assert waited == pauses


def test_a_trial_that_reached_its_time_limit_is_not_trained_again(tmp_path):
    trials, requests = planned(2), StopRequests(tmp_path, 7.0)
    requests.write(trials[0].config_hash, StopRequest(seconds=8.0))
    workers = Workers(lambda pack: len(pack) > 1)
    messages = list(train_with_retries([trials], 1, workers.fit, requests))
    assert workers.asked == [(2, 1), (1, 0)]
    assert "cluster.trial_timeout=7" in messages[0].error


def test_messages_of_progress_pass_and_stop_with_the_trials_end():
    (one,) = planned(1)

    def step(number):
        return Progress(one.config_hash, number, 9, 0.5)

    def fit(packs, retries):
        yield from (step(1), step(2), done(one), step(3))

    messages = list(train_with_retries([[one]], 0, fit))
    assert messages == [step(1), step(2), done(one)]


@pytest.mark.parametrize("cause", FailureCause)
def test_trials_that_were_stopped_are_not_trained_again(cause, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    trials, requests = planned(4), StopRequests(tmp_path, 7.0)
    requests.write(trials[1].config_hash, StopRequest("me", 3.0))
    again = []

    def fit(packs, retries):
        again.append([[one.config_hash for one in pack] for pack in packs])
        for pack in packs:
            if len(again) == 1:
                yield LostPack(pack, "its worker died", cause)
            else:
                yield from (done(one) for one in pack)

    messages = list(train_with_retries([trials], 2, fit, requests))
    stopped = [message for message in messages if isinstance(message, Stopped)]
    assert [message.config_hash for message in stopped] == [trials[1].config_hash]
    assert sum(endings(messages)) == 3
    left = [
        [trials[i].config_hash for i in part]
        for part in {
            FailureCause.MEMORY: [(0, 2), (3,)],
            FailureCause.NODE: [(0, 2, 3)],
            FailureCause.WORKER: [(0,), (2,), (3,)],
        }[cause]
    ]
    assert again[1:] == [left]


def test_a_trial_that_is_stopped_while_it_is_trained_again_is_stopped(tmp_path):
    trials, requests = planned(2), StopRequests(tmp_path)
    calls = []

    def fit(packs, retries):
        calls.append(packs)
        if len(calls) == 2:
            requests.write(trials[0].config_hash, StopRequest("me"))
        for pack in packs:
            yield LostPack(pack, "its worker died")

    messages = list(train_with_retries([trials], 2, fit, requests))
    assert [type(message) for message in messages] == [Note, Stopped, Failed]


def test_nothing_is_trained_again_once_the_sweep_is_to_stop(tmp_path):
    requests = StopRequests(tmp_path)
    workers = Workers(lambda pack: True)
    requests.write(SWEEP, StopRequest("me"))
    assert list(train_with_retries([planned(2)], 2, workers.fit, requests)) == []
    assert workers.asked == [(2, 2)]


def test_a_pack_is_split_into_parts_of_a_size():
    assert split_pack([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
    assert split_pack([], 2) == []
    assert [half(size) for size in (2, 3, 4)] == [1, 2, 2]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("1 worker(s) were killed due to the node running low on memory.", FailureCause.MEMORY),
        ("The actor died because its node has died.", FailureCause.NODE),
        (
            "The actor 27 is unavailable: The actor is temporarily unavailable: RPC",
            FailureCause.NODE,
        ),
        ("SYSTEM_ERROR connection error code 2. (1) killed by the OOM killer", FailureCause.WORKER),
    ],
)
def test_causes_are_read_from_rays_error_text(text, cause):
    assert parse_worker_error(text)[1] is cause


@pytest.mark.parametrize(("fits", "sizes", "ended"), [(2, [4, 2, 2], 4), (1, [4, 2, 2], 0)])
def test_a_failed_allocation_halves_the_pack_once(monkeypatch, fits, sizes, ended):
    """The allocation fails inside the worker; the other half is still tried."""
    real, asked = deq.train_pack, []

    def train_pack(configs, **options):
        asked.append(len(configs))
        if len(configs) > fits:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 TB")
        return real(configs, **options)

    monkeypatch.setattr(worker.deq, "train_pack", train_pack)
    plains = [one.plain | {"train": one.plain["train"] | {"steps": 2}} for one in planned(4)]
    messages = [m for m in run_pack(plains, "cpu", 1) if isinstance(m, Done | Failed)]
    assert asked == sizes
    assert sum(endings(messages)) == ended
    for message in messages:
        if isinstance(message, Failed):
            assert message.final
            assert message.error.startswith("out of memory: 2 trials together need about")
