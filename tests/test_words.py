"""Words that say nothing: variables of that kind, and first words of docstrings."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("deq", "sweeps", "docs", "tests", "benchmarks", "examples")
VARIABLES = {"said", "found", "told"}
# Fields whose names are in the JSON that a command prints.
JSON_FIELDS = {"sweeps/inspect/doctor.py": ["found"], "sweeps/inspect/status.py": ["found"]}
# A docstring begins with what the thing does or is.
OPENINGS = {"What", "Those", "Where", "Both", "How", "Of", "Whether", "Which", "Who", "Why", "When"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def faults(source):
    """Names and openings of docstrings in a source that are not allowed."""
    for node in ast.walk(ast.parse(source)):
        stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        name = node.id if stored else node.arg if isinstance(node, ast.arg) else ""
        if name in VARIABLES:
            yield name
        text = (isinstance(node, DOCUMENTED) and ast.get_docstring(node)) or ""
        if text.partition(" ")[0].strip(",:;") in OPENINGS or text.startswith("The same"):
            yield text.partition("\n")[0]


@pytest.mark.parametrize("folder", FOLDERS)
def test_names_and_docstrings_say_what_a_thing_is(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        allowed = JSON_FIELDS.get(path.relative_to(ROOT).as_posix(), [])
        assert list(faults(path.read_text())) == allowed, path


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "def f(said): pass",
        "for told in x: pass",
        '"""What it is."""',
        'def f():\n    """Of all."""',
        'class A:\n    """The same again."""',
    ],
)
def test_faults_are_detected(source):
    assert list(faults(source))
