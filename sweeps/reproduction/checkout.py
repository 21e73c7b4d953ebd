"""Check out the code that trained a trial, with the packages its record names."""

import contextlib
import functools
import json
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.errors import ConfigError
from sweeps.execution import git
from sweeps.execution.environment import environment
from sweeps.reproduction import rerun
from sweeps.storage.record import Record

_log = logging.getLogger(__name__)
# Value of `--at` that means the commit in the record.
RECORDED = "recorded"


class RaisedError(ConfigError):
    """The training of a recorded trial began, and raised an error."""


@dataclass(frozen=True)
class Source:
    """A commit, and the diff of uncommitted changes on top of it."""

    commit: str
    diff: str

    def __str__(self) -> str:
        """Short description for a message."""
        return f"{self.commit[:12]}{' with its uncommitted changes' if self.diff else ''}"


@dataclass(frozen=True)
class Checkout:
    """A checkout in its own folder, and a Python with the recorded packages.

    Attributes:
        source: commit and diff of the code.
        code: folder of the checkout.
        python: path of the Python interpreter.
        reused: True if this process's own Python is used, since its packages match.
    """

    source: Source
    code: Path
    python: str
    reused: bool

    @functools.cached_property
    def environment(self) -> dict[str, Any]:
        """Versions and hardware, as reported by that Python."""
        if self.reused:
            return environment()
        with tempfile.TemporaryDirectory(dir=self.code.parent) as folder:
            self._run(Path(folder))
            result: dict[str, Any] = json.loads((Path(folder) / rerun.ENVIRONMENT).read_text())
        return result

    def __str__(self) -> str:
        """Short description for a message."""
        here = "the packages of this environment, which are the recorded ones"
        return f"{self.source}, with {here if self.reused else 'the recorded packages installed'}"

    def rerun(self, record: Record) -> Record:
        """Train the record's trial with this code.

        Raises:
            RaisedError: the training raised.
            ConfigError: this code gives the config another hash, or
                another copy of sweeps was imported.
        """
        short = record.config_hash[:12]
        with tempfile.TemporaryDirectory(dir=self.code.parent) as name:
            folder = Path(name)
            threads = int(record.environment.get("threads", 1))
            trial = {"config": record.config, "device": record.device, "threads": threads}
            (folder / rerun.TRIAL).write_text(json.dumps(trial))
            self._run(folder)
            if (folder / rerun.FAILURE).exists():
                error = (folder / rerun.FAILURE).read_text()
                raise RaisedError(f"{short} raised at {self.source}: {error}")
            result = Record.joined(
                (folder / rerun.HEAD).read_text(),
                (folder / rerun.ENVIRONMENT).read_text(),
                (folder / rerun.TRAJECTORY).read_bytes(),
            )
        commit = result.environment.get("code", {}).get("commit")
        if commit != self.source.commit:
            raise ConfigError(
                f"another copy of sweeps ({commit or 'no checkout'}) was imported instead of "
                f"{self.source}: check what site-packages puts before PYTHONPATH"
            )
        if result.config_hash != record.config_hash:
            raise ConfigError(
                f"{short} has another hash at {self.source}: {result.config_hash[:12]}; "
                "with that code this config is another trial"
            )
        return result

    def _run(self, folder: Path) -> None:
        """Run rerun.py with this code; its input and output are files in `folder`."""
        path = os.pathsep.join(filter(None, [str(self.code), os.environ.get("PYTHONPATH")]))
        command = [self.python, "-P", rerun.__file__, str(folder)]
        if error := _error_of(command, {"PYTHONPATH": path}):
            raise ConfigError(f"the code at {self.source} cannot train this trial: {error}")


def source(record: Record, at: str) -> Source:
    """Resolve `--at` to a commit and a diff.

    Args:
        record: the trial.
        at: RECORDED for the code in the record, or the name of a commit.

    Raises:
        ConfigError: the record names no commit, or the commit does not exist.
    """
    code = record.environment.get("code") or {}
    recorded = code.get("commit") or ""
    if at == RECORDED and not recorded:
        error = code.get("error", "")
        why = f"git failed ({error})" if error else "sweeps ran outside a git checkout"
        raise ConfigError(
            f"the record of {record.config_hash[:12]} names no commit, since {why}: "
            "choose one with --at COMMIT"
        )
    commit = git.commit(recorded if at == RECORDED else at)
    return Source(commit, code.get("diff", "") if commit == recorded else "")


@contextlib.contextmanager
def checkout(record: Record, code_source: Source, output: Path) -> Iterator[Checkout]:
    """Check out the code and provide the record's packages, in a temporary folder.

    Args:
        record: the trial whose packages are needed.
        code_source: commit and diff to check out.
        output: the output root; the temporary folder is made in it.

    Raises:
        ConfigError: the checkout failed, or the packages cannot be installed.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="reproduce-", dir=output) as name:
        folder = Path(name).resolve()
        code = folder / "code"
        git.check_out(code_source.commit, code_source.diff, code)
        if _same_packages(record):
            yield Checkout(code_source, code, sys.executable, reused=True)
        else:
            yield Checkout(code_source, code, _install(record, code, folder), reused=False)


def packages(record: Record) -> dict[str, str]:
    """Recorded versions of Python and of all packages except deq-sweeps itself.

    Raises:
        ConfigError: a name or version is not valid. Both go into a file and a command.
    """
    recorded: dict[str, str] = {"python": record.environment.get("python", "")}
    recorded |= record.environment.get("packages") or {}
    versions = {name: v for name, v in recorded.items() if name != "deq-sweeps" and v}
    for name, version in versions.items():
        if not re.fullmatch(r"\w[\w.-]*", name) or not re.fullmatch(r"\w[\w.+!-]*", version):
            raise ConfigError(
                f"{record.config_hash[:12]} names an invalid package: {name!r} {version!r}"
            )
    return versions


def _same_packages(record: Record) -> bool:
    here = {"python": environment()["python"]} | environment()["packages"]
    return all(here.get(name) == version for name, version in packages(record).items())


def _install(record: Record, code: Path, folder: Path) -> str:
    """Make a virtual environment with the recorded versions; return the path of its Python.

    All other packages get the versions in the checkout's constraints.txt.
    """
    versions = packages(record)
    python = _interpreter(versions.pop("python", platform.python_version()))
    # Package indexes do not list local builds such as torch 2.13.0+cpu.
    pins = {name: version.partition("+")[0] for name, version in versions.items()}
    named = ", ".join(f"{name} {version}" for name, version in pins.items())
    _log.warning("installing %s for %s (some minutes) ...", named, record.config_hash[:12])
    constraints = folder / "constraints.txt"
    constraints.write_text(_constraints(code / "constraints.txt", pins))
    venv_python = str(folder / "venv" / "bin" / "python")
    install = [venv_python, "-m", "pip", "install", "--quiet", "--retries", "2"]
    for command in (
        [python, "-m", "venv", str(folder / "venv")],
        [*install, "-c", str(constraints), "-e", str(code)],
    ):
        if error := _error_of(command, {"PIP_CONSTRAINT": str(constraints)}):
            raise ConfigError(
                f"{record.config_hash[:12]} was trained with {named}, unlike the packages of this "
                f"environment, and pip could not install them: {error}"
            )
    return venv_python


def _error_of(command: list[str], variables: dict[str, str]) -> str:
    """Run a command; return the last line of its standard error if it failed, else ""."""
    done = subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    if not done.returncode:
        return ""
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _constraints(own: Path, pins: dict[str, str]) -> str:
    """Text of a constraints file: the recorded versions, then those of the checkout."""
    lines = [f"{name}=={version}" for name, version in pins.items()]
    for line in own.read_text().splitlines() if own.exists() else []:
        if re.split(r"[=<>!~\[; ]", line, maxsplit=1)[0].lower() not in pins:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _interpreter(version: str) -> str:
    """Path of a Python with the same minor version.

    Raises:
        ConfigError: none is installed.
    """
    minor = ".".join(version.split(".")[:2])
    if minor == ".".join(map(str, sys.version_info[:2])):
        return sys.executable
    path = shutil.which(f"python{minor}")
    if not path:
        raise ConfigError(
            f"the trial was trained with Python {version}, and python{minor} is not installed"
        )
    return path
