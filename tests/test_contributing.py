"""The contributor's kit: its files are well formed, and what they name is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sweeps.cli import cli
from sweeps.reports.claims import CLAIMS

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


def test_check_and_ci_and_the_workflow_run_the_same_checks():
    """CI runs `make test` in three parts, and the containers, which need root on Debian 12."""
    ours = (ROOT / ".ci/run").read_text()
    (steps,) = re.findall(r"^for step in (.*); do$", ours, re.MULTILINE)
    parts = ["test-fast", "test-slow", "test-slurm"]
    called = re.findall(r"^(?:timeout \d+ )?make (test-[a-z]+)", ours, re.MULTILINE)
    assert sorted(called) == sorted([*parts, "test-containers"])
    (check,) = re.findall(r"^check: (.*) ##", MAKEFILE, re.MULTILINE)
    assert check.split() == [*steps.split(), "test"]
    workflow = re.findall(r"- run: make ([a-z-]+)", WORKFLOW.read_text())
    assert workflow == [*steps.split(), *parts]


def test_one_sentence_says_which_checks_there_are():
    pages = [PAGE, MAKEFILE, (ROOT / "README.md").read_text(), WORKFLOW.read_text()]
    for text in [*pages, (ROOT / ".ci/run").read_text()]:
        words = " ".join(re.sub("[#`]", " ", text).split()).replace(" ,", ",")
        assert "test-containers, which needs root on Debian 12" in words


def test_hooks_are_local():
    assert [repo["repo"] for repo in yaml.safe_load(HOOKS.read_text())["repos"]] == ["local"]


def test_files_that_the_page_names_are_there():
    named = re.findall(r"`((?:deq|sweeps|tests|docs|conf)/[\w./-]+)`", PAGE)
    named += re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert len(named) > 8
    for path in (path for path in named if "NAME" not in path):
        assert (ROOT / path).exists(), path


def test_the_experiments_of_the_claims_are_named_where_a_reader_looks():
    page = (ROOT / "docs/how-to/verify.md").read_text()
    text = cli.commands["verify"].help or ""
    for name in {claim.experiment for claim in CLAIMS}:
        assert f"`{name}`" in page
        assert re.search(rf"\b{name}\b", text), name
