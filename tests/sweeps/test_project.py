"""Config files of a user's own: where they are found, what they are recorded as, `sweeps init`."""

import json
import shutil

import click
import pytest
from command import client, inside, runs
from test_completion import offered

import sweeps
from sweeps.cli import cli
from sweeps.config.config_files import conf_dir
from sweeps.config.request import request
from sweeps.config.yaml_text import from_yaml
from sweeps.errors import ConfigError

pytestmark = pytest.mark.slow

EXPERIMENT = """\
# @package _global_
defaults:
  - override /data: mine
  - override /cluster: inline
study: own
axes:
  model.width: [8, 12]
train:
  steps: 20
"""
HEAD = b"# @package _global_\n"
DATA = "name: sphere\nn: 8\nd: 8\nseed: 1\n"
SAME = ["data=sphere", "data.n=8", "data.d=8", "data.seed=1", "train.steps=20"]


def written(folder, **files):
    """A folder of config files: GROUP__NAME=text."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


@pytest.fixture
def project(tmp_path):
    """A folder with a conf/ that holds an experiment and a data set."""
    written(tmp_path / "project" / "conf", experiment__first=EXPERIMENT, data__mine=DATA)
    return tmp_path / "project"


def test_configs_are_found_here_and_by_name_and_hash_alike_wherever_they_lie(project, tmp_path):
    """In the folder's conf/, by --config-dir, and typed without any file."""
    here = inside("show", "experiment=first", "--hash", cwd=project)
    typed = [f"model.width={width}" for width in (8, 12)]
    same = [sweeps.config_hash(sweeps.compose([*SAME, width])) for width in typed]
    assert here.stdout.split() == same, here.stderr
    for option in (["--config-dir=project/conf"], ["-cd", "project/conf"]):
        named = inside("show", "experiment=first", "--hash", *option, cwd=tmp_path)
        assert named.stdout == here.stdout, named.stderr
    assert [
        t.config_hash for t in sweeps.plan(["experiment=first"], config_dir=project / "conf").trials
    ] == same
    assert inside("show", "experiment=first", cwd=tmp_path).returncode == 2


def test_settings_of_a_machine_are_used_if_they_exist_and_an_experiment_wins(project):
    local = HEAD + b"train: {steps: 7, eta: 0.25}\ncluster: {cpus_per_trial: 3}\n"
    written(project / "conf", local__default=local)
    shown = inside("show", "train.eta=0.125", cwd=project)
    assert "# local/default.yaml" in shown.stdout, shown.stderr
    config = from_yaml(shown.stdout)
    assert (config["train"]["steps"], config["train"]["eta"]) == (7, 0.125)
    assert config["cluster"]["cpus_per_trial"] == 3
    config = from_yaml(inside("show", "experiment=first", cwd=project).stdout)
    assert (config["train"]["steps"], config["train"]["eta"]) == (20, 0.25)
    assert config["cluster"]["name"] == "inline"


def test_the_named_folder_comes_first_then_the_one_here_then_ours(project, tmp_path):
    first = written(tmp_path / "named", data__mine=DATA.replace("n: 8", "n: 6"))
    written(project / "conf", data__digits=DATA.replace("n: 8", "n: 7"))
    sizes = "data=mine,digits", "data.seed=2", "--resolve"
    done = inside("show", "--config-dir", str(first), *sizes, cwd=project)
    names = [from_yaml(text)["data"] for text in done.stdout.split("---\n")]
    assert [(data["name"], data["n"]) for data in names] == [("sphere", 6), ("sphere", 7)]
    hidden = f"data/digits.yaml: {project}/conf/data/digits.yaml takes the place of sweeps' own"
    assert done.stderr.splitlines() == [hidden]


def test_show_doctor_errors_and_completion_know_them(project, monkeypatch):
    shown = inside("show", "experiment=first", cwd=project).stdout.splitlines()
    places = [
        f"{group}.yaml: {project}/conf/{group}.yaml" for group in ("experiment/first", "data/mine")
    ]
    assert sorted(shown[:2]) == sorted(f"# {place}" for place in places)
    with_ending = inside("show", "experiment=first.yaml", cwd=project).stdout.splitlines()
    assert with_ending[:2] == shown[:2]
    checks = json.loads(inside("doctor", "--json", cwd=project).stdout)
    (row,) = [check["found"] for check in checks if check["name"] == "config files"]
    assert row == f"{project}/conf (data, experiment); then sweeps' own"
    refused = inside("run", "data=mnie", cwd=project)
    assert refused.stderr.endswith("digits, mine, mnist, npz, orthonormal, sphere\n")
    belongs = inside("run", "data=digits", "data.d=3", cwd=project).stderr
    assert "data.d=3: no such key here: it belongs to data=mine or orthonormal or sphere" in belongs
    monkeypatch.chdir(project)
    assert offered("run experiment=fi") == ["experiment=first"]
    assert offered("run data=mine data.d") == ["data.d="]
    monkeypatch.chdir(project.parent)
    assert offered("run experiment=fi") == []
    assert offered("run --config-dir project/conf experiment=fi") == ["experiment=first"]
    assert offered("run --config-dir nowhere experiment=qu") == ["experiment=quickstart"]


def test_every_command_that_takes_overrides_takes_a_folder():
    for name, command in cli.commands.items():
        variadic = [p for p in command.params if isinstance(p, click.Argument) and p.nargs == -1]
        options = [p for p in command.params if p.name == "config_dir"]
        assert len(options) == len(variadic), name


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"a: [\n", "line 2: expected the node content"),
        (b"a: 1\na: 2\n", "line 2: found duplicate key a"),
        (b"\xff\xfe\x00", "no YAML in UTF-8"),
        (b"- a\n", "it holds no KEY: VALUE"),
        (b"just text\n", "it holds no KEY: VALUE"),
        (b"defaults:\n  - bad\n", "it holds itself"),
        (b"defaults:\n  - nowhere\n", "it names 'experiment/nowhere': no such experiment"),
        (
            HEAD + b"defaults:\n  - override /data: digit\n",
            "names 'data/digit': no such data; the n",
        ),
        (HEAD + b"seed: ${nope}\n", "seed: Interpolation key 'nope' not found"),
        (HEAD + b"seed: ${nope\n", "at input '${nope'"),
        (HEAD + b"model: {widht: 8}\n", "did you mean 'model.width'?"),
        (HEAD + b"model: {width: abc}\n", "model.width=abc: it should be a whole number"),
        (HEAD + b"model: 3\n", "model=3: set one of its keys"),
        (HEAD + b"tracking: {lease: 0}\n", "tracking: lease must be at least 1"),
        (HEAD + b"axes: {model.widht: [8]}\n", "did you mean 'model.width'?"),
        (HEAD + b"axes: {model.width: [8, x]}\n", "model.width=x: it should be a whole number"),
        (HEAD + b"axes: {seed: range(0}\n", "'(' is not closed"),
        (HEAD + b"axes: 3\n", "axes must map keys to values"),
        (HEAD + b"axes: [1, 2]\n", "axes is a list, and should be a mapping, {KEY: VALUE}"),
        (HEAD + b"paper: [1]\n", "paper is a list, and should be a mapping"),
        (HEAD + b"model: [1]\n", "model is a list, and should be a mapping"),
        (HEAD + b"cluster: {resources: [1]}\n", "cluster.resources is a list, and should be a m"),
        (b"", "it is empty: its first line must be '# @package _global_', then KEY: VALUE"),
        (b"# nothing yet\n", "it is empty"),
        (b"defaults: [override /data: sphere]\n", "its first line must be '# @package _global_'"),
        (HEAD + b"early_stopping: asha\n", ": defaults: [override /early_stopping: asha]"),
        (HEAD + b"data: sphere\n", "to choose, write data=sphere on the command line, or in a f"),
        (HEAD + b"cluster: inline\n", "defaults: [override /cluster: inline]"),
        (HEAD + b"tracking: server\n", "defaults: [override /tracking: server]"),
        (HEAD + b"search: optuna\n", "defaults: [override /search: optuna]"),
        (HEAD + b"search: {name: [1]}\n", "search.name"),
        (HEAD + b"search: 5\n", "search=5: it should be a mapping, {KEY: VALUE}"),
        (HEAD + b"data:\n", "data=null: it should be a mapping, {KEY: VALUE}"),
        (HEAD + b"search: {trials: 3}\n", "did you mean 'search.samples'?"),
        (b"# @package a b\nseed: 1\n", "Too many components"),
        (b"axes: {model.width: [8]}\n", "its first line must be '# @package _global_'"),
    ],
)
def test_a_broken_file_is_one_line_where_it_is_used(file, message, project):
    written(project / "conf", experiment__bad=file)
    done = inside("run", "experiment=bad", cwd=project)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert message in done.stderr
    place = f"{project}/conf/experiment/bad.yaml"
    assert done.stderr.startswith(f"sweeps: {place}")
    assert not (project / "outputs").exists()
    assert inside("show", "experiment=first", cwd=project).returncode == 0


@pytest.mark.parametrize("file", [b"", b"# nothing yet\n", HEAD])
@pytest.mark.parametrize("group", ["data", "search", "cluster"])
def test_an_empty_file_is_no_choice_of_a_group(file, group, project):
    written(project / "conf", **{f"{group}__bad": file})
    text = f"sweeps: {project}/conf/{group}/bad.yaml: it is empty: write the keys of {group} "
    assert inside("run", f"{group}=bad", cwd=project).stderr.startswith(text)


def test_an_error_in_a_typed_override_names_no_file(project):
    for words in ("model.width=abc", "model.widht=8", "train.steps=0", "data=mnie"):
        done = inside("run", "experiment=first", words, cwd=project)
        assert done.stderr.startswith((f"sweeps: {words}", "sweeps: train: steps must be")), done


def test_an_error_carries_its_key_and_the_file_is_named_by_it(project, monkeypatch):
    """The key, and not the words of the message: `steps` is in the first one's as well."""
    monkeypatch.chdir(project)
    faults = {
        "train: {eta: -1}": ("train.eta", "train.steps=5"),
        "train: {batch: 99}\ndata: {n: 8}": ("train.batch", "train.steps=5"),
        "defaults: [override /data: npz]\ndata: {path: nowhere.npz}": ("data", "seed=1"),
        "search: {name: optuna, metric: rate}": ("search", "seed=1"),
        "model: {width: x}": ("model.width", "data=sphere"),
        "axes: {model: [{widht: 8}]}": ("model.widht", "seed=1"),
        "axes: {tracking.lease: [5, 6]}": ("tracking.lease", "seed=1"),
    }
    for text, (key, typed) in faults.items():
        written(project / "conf", experiment__bad=f"# @package _global_\n{text}\n")
        with pytest.raises(ConfigError) as caught:
            request(["experiment=bad", typed])
        assert (caught.value.key, str(caught.value).partition(": ")[0]) == (
            key,
            f"{project}/conf/experiment/bad.yaml",
        ), caught.value
    with pytest.raises(ConfigError, match=r"^model\.width=x") as caught:
        request(["experiment=first", "model.width=x"])
    assert (caught.value.key, caught.value.value) == ("model.width", "x")


@pytest.mark.parametrize("broken", [b"a: [\n", b"\xff\xfe\x00", b"- a\n", None])
def test_a_broken_file_does_not_hide_the_others(broken, project):
    """A misspelt choice is answered by the nearest one, the others and the broken file."""
    path = project / "conf" / "experiment" / "bad.yaml"
    if broken is None:
        path.symlink_to("nowhere")
    else:
        path.write_bytes(broken)
    for words in (["experiment=frist"], ["data=mnie", "experiment=frist"]):
        done = inside("run", *words, cwd=project)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert "experiment=frist: no such experiment; the nearest is first; " in done.stderr
        assert "there is activations, batch_size, conservation, " in done.stderr
        assert ", first, frontier_eta, " in done.stderr
        assert f"({path} cannot be read: " in done.stderr
    written(project / "conf", experiment__names=HEAD + b"defaults: [override /data: x]\n")
    done = inside("run", "experiment=names", cwd=project)
    assert "experiment/names.yaml: it names 'data/x': no such data; there is " in done.stderr
    assert not (project / "outputs").exists()


def test_a_folder_that_cannot_be_used_is_refused(project):
    written(project / "others", config="a: 1\n", data__mine=DATA)
    (project / "empty").mkdir()
    refused = {
        "nowhere": "there is no such folder",
        "": "name a folder",
        "x" * 5000: "too long",
        "conf/data/mine.yaml": "it is a file",
        "empty": "no experiment/NAME.yaml",
        "conf/data": "no experiment/NAME.yaml",
        ".": f"its files are in conf/: name {project / 'conf'}",
        "others": "its config.yaml would replace all defaults",
    }
    for named, message in refused.items():
        for command in ("run", "status", "theory"):
            done = inside(command, "--config-dir", named, cwd=project)
            assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
            assert message in done.stderr, done.stderr
    done = inside("show", "-cd", "conf", "-cd", "others", cwd=project)
    assert done.stderr == "sweeps: --config-dir others: name one folder, not 2\n"
    with pytest.raises(ConfigError, match="no such folder"):
        request([], project / "nowhere")
    assert not (project / "outputs").exists()


def test_another_programs_conf_is_left_alone(project):
    """A Hydra application's own: the main config in it is not for us."""
    default = inside("show", "--hash", cwd=project.parent).stdout
    written(project / "conf", config="defaults: [nothing]\n", data__digits="a: 1\n")
    assert inside("show", "--hash", cwd=project).stdout == default
    refused = inside("show", "experiment=first", cwd=project).stderr
    assert "conf/ here is not searched: its config.yaml makes it another program's" in refused
    shutil.rmtree(project / "conf")
    written(project / "conf", nginx__site="a: 1\n")
    assert inside("show", "--hash", cwd=project).stdout == default


def test_our_own_conf_is_no_users(monkeypatch):
    monkeypatch.chdir(conf_dir().parent)
    assert request(["experiment=quickstart"], "conf").files == []


def test_groups_of_ones_own(project, monkeypatch):
    """`+GROUP=A,B` appends one to the defaults, as in Hydra, and may be an axis."""
    written(project / "conf", size_of__small="# @package _global_\nmodel: {width: 8}\n")
    written(project / "conf", size_of__large="# @package _global_\nmodel: {width: 9}\n")
    done = inside("show", "+size_of=small,large", "--resolve", cwd=project)
    widths = [from_yaml(text)["model"]["width"] for text in done.stdout.split("---\n")]
    assert widths == [8, 9], done.stderr
    refused = inside("show", "size_of=small", cwd=project).stderr
    assert refused.endswith(
        "size_of=small: size_of is a group of your own: choose from it by '+size_of=small'\n"
    )
    monkeypatch.chdir(project)
    assert offered("run +") == offered("run +size_") == ["+size_of="]
    assert offered("run +size_of=") == ["+size_of=large", "+size_of=small"]
    assert offered("run +size_of=large,") == ["+size_of=large,small"]
    assert offered("run size_") == []
    refused = inside("show", "+size_of=smal", cwd=project).stderr
    assert "no such size_of; the nearest is small; there is large, small" in refused


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep whose config files are gone, and the folder it was run in."""
    folder = tmp_path_factory.mktemp("swept")
    secret = EXPERIMENT + "# après http://me:hidden@host\n"
    written(folder / "conf", experiment__first=secret, data__mine=DATA)
    words = "data=mine,sphere", "data.n=8"
    done = inside("run", "--config-dir", "conf", "experiment=first", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder / "conf")
    return folder


def test_a_sweep_records_what_it_was_composed_from(swept):
    (path,) = (swept / "outputs" / "mlflow" / "artifacts").rglob("sweep.yaml")
    page = from_yaml(path.read_text())
    assert page["command"].startswith("sweeps run --config-dir conf experiment=first ")
    assert page["axes"] == {"data": ["mine", "sphere"], "model.width": [8, 12]}
    assert page["files"]["data/mine.yaml"] == DATA
    text = page["files"]["experiment/first.yaml"]
    assert text == EXPERIMENT + "# après http://host\n"
    assert "    study: own\n" in path.read_text()  # as a reader reads it


def test_no_file_of_the_users_is_needed_again(swept, tmp_path):
    """To resume, to reproduce, to report, to export, and to import elsewhere."""
    (sweep,) = (path.name for path in (swept / "outputs" / "sweeps").iterdir())
    trial = json.loads(inside("resume", sweep, "--json", cwd=swept).stdout)["trials"][0]
    assert trial["reused"]
    for words in (["reproduce", trial["config_hash"]], ["report", sweep], ["cite", sweep]):
        done = inside(*words, cwd=swept)
        assert done.returncode == 0, done.stderr
    archive = tmp_path / "sweep.zip"
    assert inside("export", sweep, "-o", str(archive), cwd=swept).returncode == 0
    done = inside("import", str(archive), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    there, here = (
        from_yaml(next((place / "outputs" / "mlflow").rglob("sweep.yaml")).read_text())
        for place in (tmp_path, swept)
    )
    assert there["files"] == here["files"]
    assert there["trials"] == here["trials"]


def test_init_writes_a_project_that_runs(tmp_path, monkeypatch):
    done = inside("init", "study", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = {str(p.relative_to(tmp_path / "study")) for p in tmp_path.rglob("*.*") if p.is_file()}
    assert files == {"README.md", "conf/experiment/first.yaml", "my_activation.py"}
    small = ["model.width=8", "data.n=6", "train.steps=20"]
    monkeypatch.syspath_prepend(tmp_path / "study")
    ran = inside("run", "experiment=first", *small, cwd=tmp_path / "study")
    assert ran.returncode == 0, ran.stderr
    page = next((tmp_path / "study" / "outputs" / "sweeps").rglob("report.html")).read_text()
    assert "my_activation:softsign" in page
    _, trials = runs(client(tmp_path / "study" / "outputs"), "first")
    assert len(trials) == 4
    commands = [
        line.split("#")[0].split()
        for line in (tmp_path / "study" / "README.md").read_text().splitlines()
        if line.startswith("    sweeps ")
    ]
    assert len(commands) == 5
    assert {command[1] for command in commands} <= set(cli.commands)


@pytest.mark.parametrize("there", ["README.md", "my_activation.py", "conf/config.yaml", "conf"])
def test_init_replaces_nothing(there, tmp_path):
    path = tmp_path / there
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    done = inside("init", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert there in done.stderr
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]
    assert path.read_text() == "mine"


@pytest.mark.parametrize("folder", ["", ".", "there"])
def test_init_writes_nothing_where_it_cannot_write_all(folder, tmp_path):
    link = tmp_path / ("there" if folder == "there" else "conf")
    link.symlink_to(tmp_path / "nowhere")
    done = inside("init", folder, cwd=tmp_path)
    assert done.returncode == 2
    assert "is there already" in done.stderr or "DIR is empty" in done.stderr
    assert list(tmp_path.rglob("*")) == [link]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "--config-dir", ""], "--config-dir '': name a folder"),
        (["status", "--every", "5"], "--every is for --watch"),
        (["status", "model.width=3"], "model.width=3: it is part of a trial"),
        (["stop", "abcdef", "model.width=3"], "model.width=3: it is part of a trial"),
        (["sync", "seed=0,1"], "seed=0,1: it is part of a trial"),
    ],
)
def test_an_argument_without_an_effect_is_refused(words, message, tmp_path):
    done = inside(*words, cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert message in done.stderr
