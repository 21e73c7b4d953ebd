"""Canonical forms and hashes, of small configs made here; the golden ones are in test_config."""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

import pytest

from sweeps.config.hashing import (
    both_hashes,
    canonical,
    cell_hash,
    config_hash,
    digests,
    set_hash,
)


class Word(StrEnum):
    NO = "no"


@dataclass
class Inner:
    rate: float = 0.5
    late: int = field(default=3, metadata={"absent_at": 3})
    name: str = field(default="x", metadata={"identity": False})


@dataclass
class Config:
    inner: Inner = field(default_factory=Inner)
    seed: int = 0
    sizes: tuple[int, ...] = (1, 2)


def test_the_canonical_form_has_the_fields_of_identity_only():
    assert canonical(Config()) == {"inner": {"rate": 0.5}, "seed": 0, "sizes": [1, 2]}
    assert canonical(Inner(late=4, name="y")) == {"rate": 0.5, "late": 4}


@pytest.mark.parametrize(
    ("value", "form"),
    [(None, None), (True, True), (7, 7), ("a", "a"), (Word.NO, "no"), ([1, (2.5,)], [1, [2.5]])],
)
def test_plain_values_keep_their_value_and_type(value, form):
    assert canonical(value) == form
    assert type(canonical(value)) is type(form)


def test_minus_zero_is_zero():
    assert str(canonical(-0.0)) == "0.0"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match=f"^{value} has no place in a configuration$"):
        canonical([value])


@pytest.mark.parametrize(("value", "name"), [({1}, "set"), (b"", "bytes"), (Inner, "type")])
def test_other_types_are_refused(value, name):
    with pytest.raises(TypeError, match=f"^{name} is no configuration type$"):
        canonical(value)


def test_a_hash_is_that_of_the_sorted_compact_ascii_json_with_its_schema():
    text = '{"config":{"inner":{"rate":0.5},"seed":0,"sizes":[1,2]},"schema":1}'
    assert config_hash(Config()) == hashlib.sha256(text.encode()).hexdigest()
    plain = {"b": "é", "a": 1}
    text = '{"config":{"a":1,"b":"\\u00e9"},"schema":1}'
    assert digests(plain)[0] == hashlib.sha256(text.encode()).hexdigest()


def test_a_hash_of_a_number_that_json_lacks_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        digests({"a": float("nan")})


def test_the_cell_hash_leaves_out_the_seed_and_nothing_else():
    assert cell_hash(Config(seed=1)) == cell_hash(Config(seed=2))
    assert cell_hash(Config(sizes=(1,))) != cell_hash(Config())
    assert both_hashes(Config()) == (config_hash(Config()), cell_hash(Config()))
    plain = canonical(Config())
    assert digests(plain) == both_hashes(Config())
    del plain["seed"]
    assert digests(plain)[0] == cell_hash(Config())


def test_a_sweeps_name_is_that_of_the_set_of_its_trials():
    text = "\n".join(["a" * 64, "b" * 64])
    name = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert set_hash(["b" * 64, "a" * 64, "b" * 64]) == name
