"""docs/reference.md, docs/modules.md and completion's words agree with the code."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import sweeps
from docs import keys, modules, reference
from sweeps.cli.complete_overrides import WORDS
from sweeps.tracking import artifacts


@pytest.mark.parametrize(
    ("path", "written"),
    [(reference.PAGE, reference.page), (modules.PAGE, modules.page), (WORDS, reference.words)],
)
def test_generated_files_are_up_to_date(path, written):
    assert path.read_text() == written(), "run `make reference`"


def test_meanings_come_from_the_docstring_and_from_base_classes():
    @dataclass
    class Base:
        """A base.

        Attributes:
            low, high: both ends.
            name: which.

        Ends.
        """

    class Derived(Base):
        """One.

        Attributes:
            name: what it is: of two
                lines.
        """

    assert keys.meanings(Derived) == {
        "low": "both ends.",
        "high": "both ends.",
        "name": "what it is: of two lines.",
    }


def test_a_field_without_a_meaning_is_refused(monkeypatch):
    monkeypatch.setattr(keys, "meanings", lambda cls: {})
    with pytest.raises(ValueError, match="no line under Attributes"):
        keys.config_keys()


def test_identity_is_marked():
    hashed = {key.name for key in keys.config_keys() if key.hashed}
    assert {"model.width", "data.n", "seed", "solver.tol"} <= hashed
    assert not hashed & {"data.path", "model.allow_ill_posed", "pack", "paths.output", "study"}


def test_every_tag_the_code_names_has_a_meaning():
    sources = "".join(path.read_text() for path in Path(sweeps.__file__).parent.rglob("*.py"))
    named = set(re.findall(r'"(sweeps\.[a-z_]+)"', sources))
    assert named == set(artifacts.TAGS | artifacts.OTHER_TAGS)
