"""Modules that may import each library."""

import ast
import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOORS = {
    "hydra": {
        f"sweeps/config/{name}.py"
        for name in ("hydra", "experiment_axes", "hydra_session", "overrides")
    },
    "omegaconf": {"sweeps/config/hydra.py"},
    "pydantic": {"sweeps/config/validation.py", "sweeps/archive/validation.py"},
    "pandas": {"sweeps/api.py", "sweeps/planning/outcomes.py", "sweeps/reports/frames.py"},
    "ray": {
        f"sweeps/execution/{name}.py"
        for name in ("asha", "head_watch", "ray_cluster", "ray_head", "local_ray", "tune")
    },
    "mlflow": {
        f"sweeps/tracking/{name}.py"
        for name in ("bulk", "client", "inputs", "runs", "schema", "server")
    },
    "matplotlib": {"sweeps/reports/figures/style.py"},
    "optuna": {"sweeps/search/optuna.py"},
    "plotly": {"sweeps/reports/plotly_figures.py"},
    "jinja2": {"sweeps/reports/html_report.py"},
    "pyarrow": {"sweeps/storage/record.py"},
    "sklearn": {"deq/data/archive.py"},
    "safetensors": {"deq/training/weights_file.py"},
    "lazy_loader": {"deq/__init__.py", "sweeps/__init__.py"},
    "click": {f"sweeps/cli/{path.name}" for path in (ROOT / "sweeps/cli").glob("*.py")},
    "rich": {"sweeps/driver/terminal.py"},
}
NUMERICS = {"torch", "numpy", "scipy", "sklearn"}
MATHEMATICS = {"torch", "numpy", "scipy", "sklearn", "safetensors", "deq", "lazy_loader"}


@functools.cache
def nodes(text):
    """All nodes of a module's syntax tree."""
    return list(ast.walk(ast.parse(text)))


def imported(text):
    """Top-level names of all imports, also inside functions."""
    names = set()
    for node in nodes(text):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def sources(package):
    """Text of every module of a package, by its path from the root."""
    return {str(p.relative_to(ROOT)): p.read_text() for p in sorted((ROOT / package).rglob("*.py"))}


@pytest.mark.parametrize("package", ["deq", "sweeps"])
def test_a_library_is_imported_only_where_allowed(package):
    for place, text in sources(package).items():
        names = imported(text)
        for library, doors in DOORS.items():
            assert library not in names or place in doors, f"{place} imports {library}"
        if package == "sweeps":
            assert not names & NUMERICS, place
        else:
            assert names - set(sys.stdlib_module_names) <= MATHEMATICS, place


# Calls that run code from the file they read.
UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS = {"torch.load", "torch.save", "yaml.load", "eval", "exec"}
METHODS = {"read_pickle", "to_pickle", "unsafe_load", "full_load"}


def unpickles(text):
    """Names in a source that may run an artifact as code."""
    result = imported(text) & UNPICKLERS
    for node in nodes(text):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            safe = "allow_pickle=False" in ast.unparse(node) or name not in (
                "np.load",
                "numpy.load",
            )
            if not safe or name in CALLS or name.rpartition(".")[2] in METHODS:
                result.add(name)
    return result


@pytest.mark.parametrize("package", ["deq", "sweeps"])
def test_no_module_unpickles(package):
    for place, text in sources(package).items():
        assert not unpickles(text), place


@pytest.mark.parametrize(
    "text",
    [
        "from pickle import loads",
        "def f():\n    import joblib.numpy_pickle",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=sure)",
        "pandas.read_pickle(path)",
        "yaml.load(text, Loader)",
        "eval(text)",
    ],
)
def test_unpickling_is_detected(text):
    assert unpickles(text)


def test_reading_data_is_allowed():
    assert not unpickles("np.load(p, allow_pickle=False)\nmodel.eval()\nyaml.safe_load(t)")


def test_imports_inside_functions_are_found():
    assert imported("def f():\n    import ray\n    from mlflow.x import y\n") == {"ray", "mlflow"}


def test_relative_imports_are_ignored():
    assert imported("from .ray import x\nfrom . import mlflow\n") == set()


def test_lint_imports():
    beside = Path(sys.executable).with_name("lint-imports")
    command = str(beside) if beside.exists() else shutil.which("lint-imports")
    if command is None:
        pytest.skip("lint-imports is not installed")
    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
