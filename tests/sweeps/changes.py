"""Changes to the package in the processes of a command: waits made short, trials made slow."""

import atexit
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRATCH = Path(tempfile.mkdtemp(prefix="sweeps-tests-"))
SCRATCH.chmod(0o755)  # tests become other users
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)
# MLflow's tables as its migrations create them, which takes half a second; once it was done.
TABLES = SCRATCH / "mlflow.db"
BLANK = b"\x89PNG\r\n\x1a\n"
# No figure is drawn: it takes longer than the rest of a small sweep. MLflow's tables are copied.
QUICK = {
    "sweeps.reports.figures.style": f"png = quick_png = lambda figure: {BLANK!r}",
    "sweeps.tracking.schema": f"""
import shutil as _shutil

_by_migrations = _migrate


def _migrate(path, *, create):
    tables = Path({str(TABLES)!r})
    if create and tables.exists():
        _shutil.copy(tables, path)
        return
    _by_migrations(path, create=create)
    if create and os.access(tables.parent, os.W_OK):
        new = _shutil.copy(path, f"{{tables}}.{{os.getpid()}}")
        os.replace(new, tables)
""",
}

# Python runs a module of this name in every process, Ray's workers too, before anything else.
SITE = """import importlib.util
import sys

CHANGES = {changes!r}


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name not in CHANGES:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        load = spec.loader.exec_module

        def changed(module):
            load(module)
            exec(CHANGES[name], vars(module))

        spec.loader.exec_module = changed
        return spec


sys.meta_path.insert(0, Finder())
"""
PACE = """
import pathlib as _pathlib
import time as _time

_after_step = PackTraining._after_step


def _paced(self, descent):
    yield from _after_step(self, descent)
    if _pathlib.Path({mark!r}).exists():
        _time.sleep({seconds})


PackTraining._after_step = _paced
"""


def changed(folder, **code):
    """Environment of a command in which code runs at the end of modules; QUICK's too.

    Args:
        folder: where to write it; not the folder that the command runs in.
        code: by module; a double underscore in its name stands for a dot.
    """
    folder.mkdir(exist_ok=True)
    changes = {f"sweeps.{name.replace('__', '.')}": text for name, text in code.items()}
    path, text = folder / "sitecustomize.py", SITE.format(changes=QUICK | changes)
    if not path.exists() or path.read_text() != text:  # a command that starts may read it
        path.write_text(text)
    return {"PYTHONPATH": f"{folder}:{ROOT}"}


def paced(mark, seconds=0.05):
    """Code for `execution__pack_training`: a trial sleeps after each GD step while a file exists.

    A trial then lasts as long as a test needs, without work for the machine.
    """
    mark.touch()
    return PACE.format(mark=str(mark), seconds=seconds)
