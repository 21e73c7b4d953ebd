"""Quick commands do not import heavy packages."""

import subprocess
import sys

import pytest
from command import ENV, inside

pytestmark = pytest.mark.slow

HEAVY = {"torch", "mlflow", "ray", "sklearn", "scipy", "matplotlib", "pandas"}
SMALL = ["data.n=8", "model.width=16", "train.steps=20", "cluster=inline"]
SPY = """import sys
from sweeps.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """An output root with two trials of a sweep."""
    folder = tmp_path_factory.mktemp("quick")
    done = inside("run", "seed=0,1", *SMALL, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def run_with_modules(*words, cwd, **env):
    """Run a command that prints its imported modules to standard error at the end."""
    return subprocess.run(
        [sys.executable, "-c", SPY, *words],
        cwd=cwd,
        env=ENV | env,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def names(root):
    """(name of the sweep, hashes of its trials)."""
    sweep = next((root / "outputs/sweeps").iterdir()).name
    return sweep, inside("show", "--hash", "seed=0,1", *SMALL, cwd=root).stdout.split()


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "run --help",
        "show",
        "show --hash",
        "show --resolve",
        "show experiment=quickstart",
        "status",
        "status SWEEP",
        "run --dry-run",
        "run --dry-run --why seed=range(0,4)",
        "run --dry-run experiment=quickstart cluster=local",
        "run --dry-run experiment=global_convergence",
        "cite SWEEP",
        "diff HASHES",
    ],
)
def test_quick_commands_import_nothing_heavy(root, names, command):
    sweep, hashes = names
    words = command.replace("SWEEP", sweep).replace("HASHES", " ".join(hashes)).split()
    done = run_with_modules(*words, cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    loaded = set(done.stderr.split())
    assert "sweeps.cli" in loaded
    assert not loaded & HEAVY


def test_completion_imports_nothing_heavy(root):
    line = "sweeps run model.act"
    env = {"_SWEEPS_COMPLETE": "bash_complete", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    done = run_with_modules(cwd=root, **env)
    assert "model.activation=" in done.stdout
    assert not set(done.stderr.split()) & HEAVY


def test_a_run_does_not_look_for_garbage_in_all_that_it_imported(tmp_path):
    code = "import atexit, gc\natexit.register(lambda: print('looked', gc.get_stats()[2]))\n"
    code += "from sweeps.cli import main\nmain()"
    command = [sys.executable, "-c", code, "run", *SMALL]
    done = subprocess.run(
        command, cwd=tmp_path, env=ENV, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "looked {'collections': 0," in done.stdout
