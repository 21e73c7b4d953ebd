"""Validation of plain data against typed configs, by the types alone."""

import dataclasses

import pytest

from sweeps.config.validation import validated
from sweeps.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class _Part:
    shuffle: bool = False
    rate: float = 1.0
    amounts: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Whole:
    part: _Part = dataclasses.field(default_factory=_Part)
    count: int = 1


def test_true_false_and_unknown_keys_are_judged_by_the_types():
    """The rules hold for any dataclass, whose keys no list names."""
    assert validated(_Whole, {"part": {"shuffle": True}}).part.shuffle
    refused = {
        "part.rate=true: true and false have no meaning here": {"part": {"rate": True}},
        "count=false: true and false have no meaning here": {"count": False},
        "part.amounts.a=inf: a configuration holds finite numbers only": {
            "part": {"amounts": {"a": float("inf")}}
        },
        "no key 'part.shufle': did you mean 'part.shuffle'?": {"part": {"shufle": True}},
        "no key 'prat': did you mean 'part.rate'?": {"prat": {}},
    }
    for message, plain in refused.items():
        with pytest.raises(ConfigError) as caught:
            validated(_Whole, plain)
        assert str(caught.value) == message
