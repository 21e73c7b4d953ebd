"""Changes to the package in the processes of a command: waits made short, trials made slow."""

from command import ENV

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
    """Environment of a command in which code runs at the end of modules, after their import.

    Args:
        folder: where to write it; not the folder that the command runs in.
        code: by module; a double underscore in its name stands for a dot.
    """
    folder.mkdir(exist_ok=True)
    changes = {f"sweeps.{name.replace('__', '.')}": text for name, text in code.items()}
    (folder / "sitecustomize.py").write_text(SITE.format(changes=changes))
    return {"PYTHONPATH": f"{folder}:{ENV['PYTHONPATH']}"}


def paced(mark, seconds=0.05):
    """Code for `execution__pack_training`: a trial sleeps after each GD step while a file exists.

    A trial then lasts as long as a test needs, without work for the machine.
    """
    mark.touch()
    return PACE.format(mark=str(mark), seconds=seconds)
