"""`sweeps run --dry-run --why`: the nearest finished trial, and the keys that differ."""

import contextlib
import json
import random
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
from sweeps.inspect.nearest import nearest_of, pairs
from sweeps.storage.ledger import Ledger


def distance(a, b):
    """Number of (key, value) pairs that only one of two configs has."""
    return sum((key in a) + (key in b) for key in {*a, *b} if a.get(key, "-") != b.get(key, "-"))


def test_the_nearest_config_has_the_least_distance():
    draw = random.Random(0)

    def config():
        keys = [key for key in "abcdef" if draw.random() < 0.9]
        return {key: draw.choice([0, 1, 1.5, "x", None]) for key in keys}

    for size in (0, 1, 7, 70):
        known = [config() for _ in range(size)]
        others = [pairs(config) for config in known]
        for _ in range(50):
            new = config()
            distances = [distance(old, new) for old in known]
            nearest = nearest_of(new, others)
            if known:
                assert distances[nearest] == min(distances)
                assert min(distances) not in distances[nearest + 1 :]  # the latest of several
            else:
                assert nearest is None


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


def test_the_nearest_trial_and_the_differing_keys_are_printed(root):
    first, second, finished = why("model.width=16,24", "model.max_draws=7", "seed=0,1")[:3]
    # All three differ in one key: the latest is named.
    assert first["nearest"]["keys"] == {"model.width": [24, 16]}
    assert "nearest" not in second
    assert finished["state"] == "finished"


def test_a_default_that_older_records_lack_is_no_difference(root):
    (trial,) = why("seed=2", "model.init=redraw")
    assert trial["nearest"]["keys"] == {"model.init": ["gaussian", "redraw"]}
    output = CliRunner().invoke(cli, ["run", *SMALL, "seed=3", "--dry-run", "--why"]).output
    assert "seed 2 -> 3" in output


def test_without_a_record_there_is_no_nearest_trial(tmp_path, monkeypatch):
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
    form = canonical_of(plain)
    assert form["model"]["activation"] == "nowhere.at_all:phi"
    assert form["model"]["activation_sha256"] == "ab" * 32


def test_a_stored_config_gets_all_defaults_and_its_types_are_checked():
    (point,) = request([*SMALL, "model.allow_ill_posed=true"]).trials
    plain = trial_to_plain(point.trial)
    older = {key: value for key, value in plain.items() if key not in ("solver", "seed")}
    older["model"] = {k: v for k, v in plain["model"].items() if k not in ("activation", "init")}
    assert json.dumps(with_defaults(older)) == json.dumps(plain)  # in its order
    own = plain | {"model": plain["model"] | {"activation": "nowhere.at_all:phi"}}
    assert with_defaults(own) == own
    with pytest.raises(ConfigError, match=r"train\.steps='30' is not written"):
        with_defaults(plain | {"train": plain["train"] | {"steps": "30"}})
