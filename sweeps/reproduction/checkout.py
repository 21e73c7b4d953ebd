"""Earlier code, ready to train: a clean checkout, and the packages its record names."""

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
# What `--at` says for the commit of the record itself.
RECORDED = "recorded"


@dataclass(frozen=True)
class Source:
    """Which code: a commit, and the uncommitted changes on top."""

    commit: str
    diff: str

    def __str__(self) -> str:
        """For a sentence."""
        return f"{self.commit[:12]}{' with its uncommitted changes' if self.diff else ''}"


@dataclass(frozen=True)
class Checkout:
    """A checkout in a folder of its own, and a Python that has its packages.

    Attributes:
        source: which code it holds.
        code: where it lies.
        python: what runs it.
        reused: whether that is this very environment: its packages are the recorded ones.
    """

    source: Source
    code: Path
    python: str
    reused: bool

    @functools.cached_property
    def environment(self) -> dict[str, Any]:
        """Versions and hardware, as its own process finds them; those here where it is reused."""
        if self.reused:
            return environment()
        with tempfile.TemporaryDirectory(dir=self.code.parent) as folder:
            self._run(Path(folder))
            found: dict[str, Any] = json.loads((Path(folder) / rerun.ENVIRONMENT).read_text())
        return found

    def __str__(self) -> str:
        """For a sentence."""
        where = "the packages here, which are the recorded ones"
        return f"{self.source}, with {where if self.reused else 'the recorded packages installed'}"

    def again(self, record: Record) -> Record:
        """Train the record's trial with this code.

        Raises:
            ConfigError: it raised, it is another trial to this code, or other code than this
                was run.
        """
        short = record.config_hash[:12]
        with tempfile.TemporaryDirectory(dir=self.code.parent) as name:
            folder = Path(name)
            threads = int(record.environment.get("threads", 1))
            asked = {"config": record.config, "device": record.device, "threads": threads}
            (folder / rerun.TRIAL).write_text(json.dumps(asked))
            self._run(folder)
            if (folder / rerun.FAILURE).exists():
                why = (folder / rerun.FAILURE).read_text()
                raise ConfigError(f"{short} raised at {self.source}: {why}")
            found = Record.joined(
                (folder / rerun.HEAD).read_text(),
                (folder / rerun.ENVIRONMENT).read_text(),
                (folder / rerun.TRAJECTORY).read_bytes(),
            )
        ran = found.environment.get("code", {}).get("commit")
        if ran != self.source.commit:
            raise ConfigError(
                f"another sweeps ({ran or 'no checkout'}) was run in the place of "
                f"{self.source}: see to what the site-packages put before PYTHONPATH"
            )
        if found.config_hash != record.config_hash:
            raise ConfigError(
                f"{short} has another hash at {self.source}: {found.config_hash[:12]}; "
                "that code makes another trial of this config"
            )
        return found

    def _run(self, folder: Path) -> None:
        path = os.pathsep.join(filter(None, [str(self.code), os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [self.python, "-P", rerun.__file__, str(folder)],
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
            raise ConfigError(f"the code at {self.source} cannot train this trial: {said[-1]}")


def source(record: Record, at: str) -> Source:
    """The code that `at` means for a record: its own, with its diff, or another commit's.

    Raises:
        ConfigError: the record names no commit, or there is none of that name.
    """
    code = record.environment.get("code") or {}
    recorded = code.get("commit") or ""
    if at == RECORDED and not recorded:
        refusal = code.get("error", "")
        why = f"where git refused ({refusal})" if refusal else "outside a git checkout"
        raise ConfigError(
            f"{record.config_hash[:12]} was made by a sweeps {why}: its code "
            "is not recorded; name a commit with --at COMMIT"
        )
    commit = git.commit(recorded if at == RECORDED else at)
    return Source(commit, code.get("diff", "") if commit == recorded else "")


@contextlib.contextmanager
def checkout(record: Record, found: Source, output: Path) -> Iterator[Checkout]:
    """That code with the record's packages, in a temporary folder under the output root.

    Raises:
        ConfigError: the checkout or its packages cannot be had.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="reproduce-", dir=output) as name:
        folder = Path(name).resolve()
        code = folder / "code"
        git.check_out(found.commit, found.diff, code)
        if _same_packages(record):
            yield Checkout(found, code, sys.executable, reused=True)
        else:
            yield Checkout(found, code, _installed(record, code, folder), reused=False)


def packages(record: Record) -> dict[str, str]:
    """The versions of all packages a record names but this project's own, and of Python.

    Raises:
        ConfigError: one is no name or version of a package.
    """
    found: dict[str, str] = {"python": record.environment.get("python", "")}
    found |= record.environment.get("packages") or {}
    found = {name: version for name, version in found.items() if name != "deq-sweeps" and version}
    for name, version in found.items():  # they go into a file and a command
        if not re.fullmatch(r"\w[\w.-]*", name) or not re.fullmatch(r"\w[\w.+!-]*", version):
            raise ConfigError(f"{record.config_hash[:12]} names no package: {name!r} {version!r}")
    return found


def _same_packages(record: Record) -> bool:
    here = {"python": environment()["python"]} | environment()["packages"]
    return all(here.get(name) == version for name, version in packages(record).items())


def _installed(record: Record, code: Path, folder: Path) -> str:
    """A virtual environment with the recorded versions; its Python.

    The rest is as the checkout's constraints.txt has it.
    """
    wanted = packages(record)
    python = _interpreter(wanted.pop("python", platform.python_version()))
    # A build of torch (`+cpu`) is no version an index knows.
    pins = {name: version.partition("+")[0] for name, version in wanted.items()}
    named = ", ".join(f"{name} {version}" for name, version in pins.items())
    _log.warning("installing %s for %s (some minutes) ...", named, record.config_hash[:12])
    constraints = folder / "constraints.txt"
    constraints.write_text(_constraints(code / "constraints.txt", pins))
    made = str(folder / "venv" / "bin" / "python")
    install = [made, "-m", "pip", "install", "--quiet", "--retries", "2"]
    for command in (
        [python, "-m", "venv", str(folder / "venv")],
        [*install, "-c", str(constraints), "-e", str(code)],
    ):
        done = subprocess.run(
            command,
            env=os.environ | {"PIP_CONSTRAINT": str(constraints)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
            raise ConfigError(
                f"{record.config_hash[:12]} was made with {named}, which is not what is here, "
                f"and pip could not install it: {said[-1]}"
            )
    return made


def _constraints(own: Path, pins: dict[str, str]) -> str:
    """The checkout's constraints, but for the recorded versions."""
    lines = [f"{name}=={version}" for name, version in pins.items()]
    for line in own.read_text().splitlines() if own.exists() else []:
        if re.split(r"[=<>!~\[; ]", line, maxsplit=1)[0].lower() not in pins:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _interpreter(version: str) -> str:
    """A Python of that minor version."""
    minor = ".".join(version.split(".")[:2])
    if minor == ".".join(map(str, sys.version_info[:2])):
        return sys.executable
    found = shutil.which(f"python{minor}")
    if not found:
        raise ConfigError(f"the trial was made with Python {version}: there is no python{minor}")
    return found
