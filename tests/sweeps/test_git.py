"""A git that fails: its message is printed once, recorded, and shown by doctor."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from command import SMALL, client, inside, runs
from records import RECORD

from sweeps.errors import ConfigError
from sweeps.execution import git
from sweeps.execution.environment import environment
from sweeps.inspect.citation import Provenance, cite
from sweeps.reproduction.checkout import source
from sweeps.storage.ledger import SweepEntry


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A repository that this package seems to run from; caches are cleared afterwards."""
    folder = tmp_path / "repo"
    folder.mkdir()
    who = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    for words in (["init", "--quiet"], [*who, "commit", "--quiet", "--allow-empty", "-m", "A"]):
        subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True)
    monkeypatch.setattr(git, "ROOT", folder)
    forget()
    yield folder
    forget()


def forget():
    git.code_version.cache_clear()
    environment.cache_clear()


def of_another_user(repo, monkeypatch):
    try:
        for path in (repo, repo / ".git"):
            os.chown(path, 65534, 65534)
    except PermissionError:
        pytest.skip("this process may not give files away")
    return "detected dubious ownership"


def not_there(repo, monkeypatch):
    monkeypatch.setenv("PATH", str(repo))
    monkeypatch.setattr(git, "_ENV", git._ENV | {"PATH": str(repo)})
    return "git cannot be run"


def damaged(repo, monkeypatch):
    (repo / ".git" / "HEAD").write_text("garbage")
    return "not a git repository"


@pytest.mark.parametrize("how", [of_another_user, not_there, damaged])
def test_gits_message_is_printed_once_and_recorded(how, repo, tmp_path, monkeypatch):
    message = how(repo, monkeypatch)
    code = git.code_version()
    assert (code["commit"], code["diff"]) == ("", "")
    assert message in code["error"]
    if how is of_another_user:
        assert "safe.directory" in code["error"]
    with pytest.raises(ConfigError, match=message):
        git.commit("HEAD")
    refused = replace(RECORD, environment={"code": code})
    with pytest.raises(ConfigError, match=message):
        source(refused, "recorded")
    spec = {"command": "sweeps run", "trials": [{}]}
    entry = SweepEntry("mine", "0123456789ab", spec, "", "", "FINISHED")
    assert f"Code: not recorded, since git failed ({code['error']})" in cite(
        entry, [Provenance("cpu", 0, 1, {"code": code})]
    )


@pytest.mark.slow
def test_a_sweep_and_doctor_print_it(repo, tmp_path, monkeypatch, caplog):
    message = damaged(repo, monkeypatch)
    here = {"cwd": tmp_path}
    done = inside("run", *SMALL, "cluster=inline", "seed=0,1", **here)
    assert done.returncode == 0, done.stderr
    (line,) = caplog.messages  # the test's own logging takes what goes to stderr
    assert line.startswith("the commit is not recorded with the results: git rev-parse:")
    assert message in line
    for run in runs(client(tmp_path / "outputs"))[1]:
        path = client(tmp_path / "outputs").download_artifacts(run.info.run_id, "environment.json")
        assert message in json.loads(Path(path).read_text())["code"]["error"]
    done = inside("doctor", "--json", **here)
    assert done.returncode == 1
    (check,) = [one for one in json.loads(done.stdout) if one["name"] == "git"]
    assert not check["ok"]
    assert message in check["found"]


def test_doctor_prints_the_commit(repo, tmp_path):
    done = inside("doctor", "--json", cwd=tmp_path)
    (check,) = [one for one in json.loads(done.stdout) if one["name"] == "git"]
    assert check == {"name": "git", "ok": True, "found": git.commit("HEAD")[:12]}


@pytest.mark.parametrize(
    ("named", "version"),
    [
        ("", {}),
        ("ab12" * 10, {"commit": "ab12" * 10, "diff": ""}),
        (
            f"{'ab12' * 10}-dirty",
            {
                "commit": "",
                "diff": "",
                "error": "this installation was built from ab12ab12ab12 with uncommitted changes",
            },
        ),
    ],
)
def test_an_installation_without_git_records_the_commit_that_it_was_built_from(
    tmp_path, monkeypatch, named, version
):
    monkeypatch.setattr(git, "ROOT", tmp_path)
    monkeypatch.setenv("SWEEPS_COMMIT", named)
    forget()
    assert git.code_version() == version
    forget()
