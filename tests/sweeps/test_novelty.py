"""`sweeps run --dry-run --why`: the nearest finished trial, and what differs from it."""

import contextlib
import json
import random
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner
from command import SMALL
from records import RECORD

from sweeps import config_hash
from sweeps.cli import cli
from sweeps.config.hashing import canonical
from sweeps.config.request import request, trial_to_plain
from sweeps.config.stored import canonical_of, with_defaults
from sweeps.errors import ConfigError
from sweeps.inspect.nearest import NearestConfigs
from sweeps.storage.ledger import Ledger


def plainly(known, asked):
    """The same by comparing with each: the last of those at the least distance."""
    apart = [
        sum(a.get(key, "absent") != asked.get(key, "absent") for key in {*a, *asked}) for a in known
    ]
    return len(known) - 1 - apart[::-1].index(min(apart)) if known else None


def test_the_nearest_is_that_of_a_plain_search():
    draw = random.Random(0)

    def config():
        keys = [key for key in "abcdef" if draw.random() < 0.9]
        return {key: draw.choice([0, 1, 1.5, "x", None]) for key in keys}

    for size in (0, 1, 7, 70):
        known = [config() for _ in range(size)]
        neighbours = NearestConfigs(known)
        for _ in range(50):
            asked = config()
            assert neighbours.nearest(asked) == plainly(known, asked)


def test_thousands_of_trials_beside_thousands():
    config = {f"key{i}": 0 for i in range(30)}
    known = [config | {"seed": i % 50, "width": i // 50, "eta": i} for i in range(5000)]
    started = time.process_time()
    neighbours = NearestConfigs(known)
    for i in range(5000):
        assert neighbours.nearest(config | {"seed": i % 50, "width": i // 50, "eta": -1}) == i
    assert time.process_time() - started < 10  # a plain search takes minutes


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An output root with three finished trials, the second the latest."""
    monkeypatch.setenv("SWEEPS_OUTPUT", str(tmp_path))
    with contextlib.closing(Ledger(tmp_path / "ledger.db")) as ledger:
        for words, finished in ((["seed=1"], 1), (["model.width=24"], 3), (["seed=2"], 2)):
            (point,) = request([*SMALL, *words]).trials
            plain = trial_to_plain(point.trial)
            del plain["model"]["init"]  # as older records have none
            digest = config_hash(point.trial)
            ledger.save(replace(RECORD, config_hash=digest, config=plain, finished=finished))
    return tmp_path


def why(*words):
    done = CliRunner().invoke(cli, ["run", *SMALL, *words, "--dry-run", "--why", "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.output)["trials"]


def test_new_trials_say_what_makes_them_new(root):
    first, second, finished = why("model.width=16,24", "model.max_draws=7", "seed=0,1")[:3]
    # One key from all three: the latest is named.
    assert first["nearest"]["keys"] == {"model.width": [24, 16]}
    assert "nearest" not in second
    assert finished["state"] == "finished"


def test_a_default_that_older_records_lack_is_no_difference(root):
    (trial,) = why("seed=2", "model.init=redraw")
    assert trial["nearest"]["keys"] == {"model.init": ["gaussian", "redraw"]}
    said = CliRunner().invoke(cli, ["run", *SMALL, "seed=3", "--dry-run", "--why"]).output
    assert "seed 2 -> 3" in said


def test_without_a_record_nothing_is_near(tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEPS_OUTPUT", str(tmp_path / "none"))
    (trial,) = why()
    assert trial["nearest"] is None
    assert not (tmp_path / "none").exists()
    assert CliRunner().invoke(cli, ["run", "--why"]).exit_code == 2


def test_the_canonical_form_of_a_stored_config_imports_no_activation():
    (point,) = request(SMALL).trials
    plain = trial_to_plain(point.trial)
    assert canonical_of(plain) == canonical(point.trial)
    plain["model"] |= {"activation": "nowhere.at_all:phi", "activation_sha256": "ab" * 32}
    found = canonical_of(plain)
    assert found["model"]["activation"] == "nowhere.at_all:phi"
    assert found["model"]["activation_sha256"] == "ab" * 32


def test_a_stored_config_is_completed_and_its_types_are_kept_to():
    (point,) = request([*SMALL, "model.allow_ill_posed=true"]).trials
    plain = trial_to_plain(point.trial)
    older = {key: value for key, value in plain.items() if key not in ("solver", "seed")}
    older["model"] = {k: v for k, v in plain["model"].items() if k not in ("activation", "init")}
    assert json.dumps(with_defaults(older)) == json.dumps(plain)  # in its order
    own = plain | {"model": plain["model"] | {"activation": "nowhere.at_all:phi"}}
    assert with_defaults(own) == own
    with pytest.raises(ConfigError, match=r"train\.steps='30' is not written"):
        with_defaults(plain | {"train": plain["train"] | {"steps": "30"}})
