"""The contributor's kit: its files are well formed, and what they name is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOW = ROOT / ".github/workflows/ci.yml"
HOOKS = ROOT / ".pre-commit-config.yaml"
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("github-workflows", [WORKFLOW]),
        ("github-issue-forms", FORMS),
        ("citation-file-format", [ROOT / "CITATION.cff"]),
    ],
)
def test_files_are_well_formed(schema, paths):
    assert paths
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_callers_of_make_name_targets_that_exist():
    text = WORKFLOW.read_text() + HOOKS.read_text() + (ROOT / ".ci/run").read_text() + PAGE
    targets = set(re.findall(r"(?:^|[\s`])make ([a-z-]+)(?=[`\s]|$)", text))
    assert {"lint", "types", "contract", "docs", "package", "test", "test-fast"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_the_workflow_calls_what_ci_calls():
    ours = (ROOT / ".ci/run").read_text()
    (steps,) = re.findall(r"^for step in (.*); do$", ours, re.MULTILINE)
    for step in [*steps.split(), "test-fast COVERAGE=1", "test-slow"]:
        assert f"make {step}\n" in ours or step in steps
        assert f"make {step}\n" in WORKFLOW.read_text()


def test_hooks_are_local():
    assert [repo["repo"] for repo in yaml.safe_load(HOOKS.read_text())["repos"]] == ["local"]


def test_files_that_the_page_names_are_there():
    named = re.findall(r"`((?:deq|sweeps|tests|docs|conf)/[\w./-]+)`", PAGE)
    named += re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert len(named) > 8
    for path in (path for path in named if "NAME" not in path):
        assert (ROOT / path).exists(), path
