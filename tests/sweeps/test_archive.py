"""Export, import and cite: archives can be shared, and invalid ones are refused."""

import contextlib
import hashlib
import io
import json
import zipfile
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from command import SMALL, client, runs

from sweeps.archive import schema
from sweeps.archive.importing import import_archive
from sweeps.cli import cli
from sweeps.config.request import launch_to_plain, request
from sweeps.errors import ConfigError
from sweeps.inspect.citation import BIBTEX, Provenance, cite
from sweeps.planning.plan import trials_of
from sweeps.search.factory import Proposer, sweep_name
from sweeps.storage.ledger import Ledger, SweepEntry
from sweeps.storage.record import Trajectory

pytestmark = pytest.mark.slow

SWEPT = [*SMALL, "cluster=inline", "study=shared", "seed=0,1", "model.sigma_w2=0.2"]
SWEPT += ["model.allow_ill_posed=true", "train.eta_unit=tangent,theorem"]


def output_of(*words, code=0):
    """Output of a command that runs in this process."""
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == code, done.output or done.exception
    return done.output


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """(output root, archive) of a sweep of two trials with a result and two without."""
    root = tmp_path_factory.mktemp("archive") / "outputs"
    output_of("run", *SWEPT, f"paths.output={root}", code=1)
    (folder,) = (root / "sweeps").iterdir()
    return root, Path(output_of("export", folder.name[:8], f"paths.output={root}").strip())


def members(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_an_archive_can_be_read_by_other_tools(archive):
    _, path = archive
    files = members(path)
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["format"] == 1
    assert {n: (hashlib.sha256(c).hexdigest(), len(c)) for n, c in files.items()} == {
        name: (member["sha256"], member["bytes"]) for name, member in manifest["files"].items()
    }
    sweep = json.loads(files["sweep.json"])
    assert sweep["axes"] == {"seed": [0, 1], "train.eta_unit": ["tangent", "theorem"]}
    assert len(sweep["failures"]) == 2
    parquets = [name for name in files if name.endswith(".parquet")]
    assert len(parquets) == 2
    table = pyarrow.parquet.read_table(io.BytesIO(files[parquets[0]])).to_pydict()
    assert table["step"] == list(range(31))
    result = json.loads(files[parquets[0].replace("trajectory.parquet", "result.json")])
    assert result["summary"]["rate/measured"] > 0
    assert files["report/rates.png"].startswith(b"\x89PNG")
    assert b"<html" in files["report/report.html"]
    assert "2 of 4 trials" in files["README.txt"].decode()
    assert sweep["command"] in files["CITE.txt"].decode()


def test_an_import_restores_results_runs_and_the_same_archive(archive, tmp_path):
    root, path = archive
    there = tmp_path / "there"
    where = f"paths.output={there}"
    done = json.loads(output_of("import", str(path), where, "--json"))
    assert (len(done["new"]), done["present"], done["conflicts"]) == (2, [], {})
    (parent,), trials = runs(client(there), "shared")
    _, before = runs(client(root), "shared")
    assert parent.info.status == "FAILED"

    def recorded(run):
        info, data = run.info, run.data
        times = (info.status, info.start_time, info.end_time, data.params, data.metrics)
        return data.tags["sweeps.config_hash"], times

    assert dict(map(recorded, trials)) == dict(map(recorded, before))
    digest = trials[0].data.tags["sweeps.config_hash"]
    (same,) = [r for r in before if r.data.tags["sweeps.config_hash"] == digest]
    points = [
        [(p.step, p.value, p.timestamp) for p in api.get_metric_history(run, "train/loss")]
        for api, run in (
            (client(there), trials[0].info.run_id),
            (client(root), same.info.run_id),
        )
    ]
    assert points[0] == points[1]
    assert len(points[0]) == 31
    # The same command has nothing to train, and an export gives the same bytes.
    assert "0 to train" in output_of("run", *SWEPT, where, "--dry-run")
    assert Path(output_of("export", done["sweep"], where).strip()).read_bytes() == path.read_bytes()
    # A second import changes nothing.
    again = json.loads(output_of("import", str(path), where, "--json"))
    assert (again["new"], len(again["present"])) == ([], 2)
    assert len(runs(client(there), "shared")[1]) == 2
    # A different result that is here already is left as it is and reported.
    with contextlib.closing(Ledger(there / "ledger.db")) as ledger:
        record = ledger.get(digest)
        loss = [*record.trajectory["loss"][:-1], 7.0]
        ledger.forget([digest])
        changed = Trajectory.of({**record.trajectory, "loss": loss})
        ledger.save(replace(record, trajectory=changed))
    done = json.loads(output_of("import", str(path), where, "--json", code=1))
    assert list(done["conflicts"]) == [digest]
    assert "in loss, from step 30 on" in done["conflicts"][digest]
    with contextlib.closing(Ledger(there / "ledger.db")) as ledger:
        assert ledger.get(digest).trajectory["loss"] == loss


ETAS = "train.eta=0.8,0.6,0.4,0.2,0.1,0.05"
ASHA = ["early_stopping=asha", "early_stopping.min_steps=5", "early_stopping.reduction_factor=2"]


@pytest.fixture(scope="module")
def censored(tmp_path_factory):
    """(JSON output, archive) of a sweep that stopped some of its trials early."""
    root = tmp_path_factory.mktemp("censored") / "outputs"
    words = [*SMALL, *ASHA, ETAS, "figure=curves", "cluster=inline", f"paths.output={root}"]
    done = CliRunner().invoke(cli, ["run", *words, "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert {"stopped"} < {trial["status"] for trial in result["trials"]}
    path = Path(output_of("export", result["sweep"], f"paths.output={root}").strip())
    drawn = (root / "sweeps" / result["sweep"] / "curves.png").read_bytes()
    assert members(path)["report/curves.png"] == drawn
    return result, path


def test_trials_stopped_early_are_imported_but_do_not_count_as_finished(censored, tmp_path):
    result, path = censored
    stopped = {t["config_hash"] for t in result["trials"] if t["status"] == "stopped"}
    where = f"paths.output={tmp_path / 'there'}"
    done = json.loads(output_of("import", str(path), where, "--json"))
    assert len(done["new"]) == 6
    api = client(tmp_path / "there")
    (parent,), trials = runs(api)
    assert parent.info.status == "FINISHED"
    assert len(trials) == 6 - len(stopped)
    early = api.search_runs([parent.info.experiment_id], "tags.`sweeps.early_stopped` = 'true'")
    assert {run.data.tags["sweeps.config_hash"] for run in early} == stopped
    # The sweep is complete; a sweep without early stopping must train the stopped trials.
    assert "0 to train" in output_of("run", *SMALL, *ASHA, ETAS, where, "--dry-run")
    assert f"{len(stopped)} to train" in output_of("run", *SMALL, ETAS, where, "--dry-run")
    assert Path(output_of("export", done["sweep"], where).strip()).read_bytes() == path.read_bytes()
    again = json.loads(output_of("import", str(path), where, "--json"))
    assert (again["new"], len(again["present"])) == ([], 6)


def written(path, members, *, manifest=True, **change):
    """Write an archive of these files; `manifest=False` keeps the old checksums."""
    files = {n: c for n, c in members.items() if n != "manifest.json"}
    old = json.loads(members["manifest.json"]) | change
    if manifest:
        old["files"] = {
            n: {"sha256": hashlib.sha256(c).hexdigest(), "bytes": len(c)} for n, c in files.items()
        }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in {**files, "manifest.json": json.dumps(old)}.items():
            file.writestr(name, content)
    return path


def part(files, name):
    """Name of the first trial's file that ends so."""
    return next(n for n in files if n.startswith("trials/") and n.endswith(name))


def put(place, *keys):
    """Return a function that sets one value in a JSON file."""

    def change(files):
        name = part(files, place) if place != "sweep.json" else place
        plain = inner = json.loads(files[name])
        *path, leaf, value = keys
        for key in path:
            inner = inner[key]
        inner[leaf] = value
        files[name] = json.dumps(plain).encode()

    return change


def table(**columns):
    """Return a function that replaces columns of a trajectory."""

    def change(files):
        name, sink = part(files, "trajectory.parquet"), io.BytesIO()
        old = pyarrow.parquet.read_table(io.BytesIO(files[name])).to_pydict()
        pyarrow.parquet.write_table(pyarrow.table(old | columns), sink)
        files[name] = sink.getvalue()

    return change


def file(name, content=b"x"):
    return lambda files: files.update({name: content})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (put("config.json", "seed", 7), "its config has another hash"),
        (put("config.json", "model", "width", "16"), "is not written as a config has it"),
        (put("config.json", "mdoel", 1), "no key 'mdoel'"),
        (put("result.json", "status", "fine"), "it should be 'converged'"),
        (put("result.json", "summary", "rate/measured", "1"), "it should be a whole number"),
        (put("result.json", "summary", "rate/measured", float("nan")), "is not valid JSON"),
        (put("environment.json", "threads", "1"), "it should be a whole number"),
        (put("sweep.json", "sweep", "0" * 12), "the manifest names another sweep"),
        (put("sweep.json", "study", ".."), "`study` and `launch.study` differ"),
        (put("sweep.json", "trials", 0, "plain", "seed", 7), "its config has another hash"),
        (table(loss=["pickle"] * 31), "is of type string"),
        (table(loss=[float("inf")] * 31), "not a finite number"),
        (lambda files: files.pop(part(files, "result.json")), "has no trials/"),
        (lambda files: files.pop("sweep.json"), "has no sweep.json"),
    ],
)
def test_an_invalid_archive_is_refused_and_nothing_is_written(archive, tmp_path, change, why):
    files = members(archive[1])
    change(files)
    path = written(tmp_path / "foreign.zip", files)
    here = request([f"paths.output={tmp_path / 'none'}"]).launch
    with pytest.raises(ConfigError, match=why):
        import_archive(path, here)
    assert [p.name for p in tmp_path.iterdir()] == ["foreign.zip"]


def test_a_trajectory_with_more_rows_than_steps_is_refused_before_decoding(archive, tmp_path):
    files, sink = members(archive[1]), io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"step": [0.0] * 10**6}), sink)
    files[part(files, "trajectory.parquet")] = sink.getvalue()
    path = written(tmp_path / "foreign.zip", files)
    with pytest.raises(ConfigError, match="1000000 rows"):
        import_archive(path, request([f"paths.output={tmp_path / 'none'}"]).launch)


def test_every_trial_is_read_at_most_twice(archive, tmp_path, monkeypatch):
    reads = Counter()

    def count(file, name, *options, read=zipfile.ZipFile.open):
        reads[name] += 1
        return read(file, name, *options)

    monkeypatch.setattr(zipfile.ZipFile, "open", count)
    names = set(members(archive[1]))
    reads.clear()
    import_archive(archive[1], request([f"paths.output={tmp_path}"]).launch)
    assert set(reads) == names
    assert {count for name, count in reads.items() if name.startswith("trials/")} == {2}


def test_the_manifest_must_match_the_files(archive, tmp_path):
    here, path = f"paths.output={tmp_path / 'none'}", tmp_path / "foreign.zip"
    files = members(archive[1])
    changed = files | {"report/trials.csv": b"1"}
    for words, why in (
        (lambda: written(path, changed, manifest=False), "differs from the manifest"),
        (lambda: written(path, files, format=2), "its format is 2, and this version reads 1"),
        (lambda: path.write_bytes(b"PK no zip"), "cannot be read as an archive"),
        (path.unlink, "as an archive: No such file"),
    ):
        words()
        with pytest.raises(ConfigError, match=why) as refused:
            import_archive(path, request([here]).launch)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "none").exists()


def test_addresses_and_paths_of_another_machine_are_not_imported(archive, tmp_path):
    """Otherwise `sweeps resume` would connect to an address from the file, with a password."""
    files = members(archive[1])
    assert not {"cluster", "tracking", "paths"} & set(json.loads(files["sweep.json"])["launch"])
    put("sweep.json", "launch", "tracking", {"name": "server", "uri": "http://evil:1"})(files)
    put("environment.json", "code", {"commit": "ab" * 20, "diff": ""})(files)
    put("sweep.json", "launch", "cluster", {"name": "ray", "address": "evil:1"})(files)
    import_archive(
        written(tmp_path / "foreign.zip", files), request([f"paths.output={tmp_path}"]).launch
    )
    with contextlib.closing(Ledger(tmp_path / "ledger.db")) as ledger:
        (entry,) = ledger.sweeps_like("")
    assert "evil" not in json.dumps(entry.spec)
    # MLflow shows the commit in the record, not that of the importing code.
    _, trials = runs(client(tmp_path), "shared")
    commits = [run.data.tags.get("mlflow.source.git.commit") for run in trials]
    assert commits.count("ab" * 20) == 1


def test_an_adaptive_search_keeps_its_name():
    words = ["search=optuna", "search.samples=1", "model.width=16", "seed=0,1", "data.n=8"]
    asked = request([*words, "model.sigma_w2=interval(1e-3, 0.1)"])
    cells = trials_of(asked)
    trial = Proposer(asked.launch, cells)(cells[0], {"model.sigma_w2": 0.02})
    spec = {"command": "sweeps run", "figure": "rates", "started": 5, "reused": [], "sources": {}}
    spec |= {"launch": launch_to_plain(asked.launch), "trials": [asdict(trial)]}
    spec |= {"cells": [asdict(cell) for cell in cells]}
    entry = SweepEntry("default", sweep_name(asked.launch, cells), spec, "", "", "RUNNING")
    page = schema.to_archived(entry, {})
    assert schema.to_entry(page, asked.launch) == entry
    with pytest.raises(ConfigError, match="not the hash of its trials"):
        schema.to_entry(replace(page, cells=[]), asked.launch)


def test_a_citation_lists_every_environment_and_the_theory():
    spec = {"command": "sweeps run seed=0,1", "trials": [{}, {}, {}]}
    entry = SweepEntry("mine", "0123456789ab", spec, "", "", "FINISHED")
    clean = {"python": "3.11.7", "packages": {"torch": "2.13.0", "ray": ""}, "threads": 1}
    clean |= {"code": {"commit": "c" * 40, "diff": ""}, "platform": "Linux", "cpus": 2}
    dirty = clean | {"code": {"commit": "c" * 40, "diff": "+1"}, "gpu": "H100"}
    text = cite(
        entry, [Provenance("cpu", 0, 10**9, clean)] * 2 + [Provenance("cuda", 5, 10**10, dirty)]
    )
    for words in (
        "3 trials, 3 with a result",
        "from 1970-01-01 to 1970-04-26",
        "    sweeps run seed=0,1",
        "2 of the 3 trials:\nSoftware: Python 3.11.7, torch 2.13.0\nCode: git commit cccc",
        f"uncommitted changes (SHA-256 of the diff: {hashlib.sha256(b'+1').hexdigest()})",
        "Trained on: cpu",
        "Trained on: H100",
        "2 CPUs",
        "threads a trial: 1",
        BIBTEX,
    ):
        assert words in text
    assert "none with a result" in cite(entry, [])
    own = replace(entry, spec=spec | {"sources": {"experiment/mine.yaml": "seed: 1"}})
    text = cite(own, [Provenance("cpu", 0, 10**9, clean)])
    assert "    sweeps resume 0123456789ab\n" in text
    assert "which the record holds: experiment/mine.yaml." in text


def test_cite_prints_the_text_of_the_archive(archive):
    root, path = archive
    name = json.loads(members(path)["sweep.json"])["sweep"]
    text = output_of("cite", name[:6], f"paths.output={root}")
    assert text == members(path)["CITE.txt"].decode()
