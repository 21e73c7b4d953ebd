"""A descent on disk between two GD steps, so that what ends it costs only the last minute.

A file is a .npz, without pickle: an array for each tensor and a JSON header for the rest.
Its name holds its step and the SHA-256 of its bytes. It is written beside, synced and then
renamed, so that a name that is there has a whole file, and the file before is kept in case
the disk loses what it had taken.
"""

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deq.config import TrialConfig
from deq.data.dataset import Dataset
from deq.linalg.hardware import hardware
from deq.training.gradient_descent import Descent
from deq.training.state import State

# Files that are kept: the newest, and what is fallen back on.
GENERATIONS = 2
HEADER, UNFINISHED = "header", ".new"

Plain = dict[str, Any]
# What is no fault of a file's.
OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)


class UnusableError(Exception):
    """A checkpoint does not hold what it should; whoever wrote it, training starts anew."""


@dataclass(frozen=True)
class Checkpoint:
    """A descent as a file holds it.

    Attributes:
        step: the GD step that comes next.
        stamp: what it belongs to.
        carried: plain data of whoever wrote it.
        state: see `Descent.state`.
    """

    step: int
    stamp: Plain
    carried: Plain
    state: State

    def descent(
        self,
        configs: Sequence[TrialConfig],
        datasets: Sequence[Dataset],
        *,
        keep_weights: bool = False,
    ) -> Descent:
        """The descent, to be gone on with; once, for it takes the tensors with it.

        Raises:
            UnusableError: the state is not one of these trials.
        """
        state = dict(self.state)
        self.state.clear()
        try:
            return Descent.restored(configs, datasets, state, keep_weights=keep_weights)
        except OUT_OF_MEMORY:
            raise
        except Exception as error:
            raise UnusableError(f"{type(error).__name__}: {error}") from error


def conditions(device: str = "cpu") -> Plain:
    """What beside the configs decides a trajectory's last bits: the code, and this machine."""
    here = hardware()
    on_gpu = device.startswith("cuda")
    return {
        "deq": _code(),
        "torch": torch.__version__,
        "device": device,
        "GPU": here["gpu"] if on_gpu else "",
        "threads": here["threads"],
        "CPU capability": here["cpu_capability"],
    }


@functools.cache
def _code() -> str:
    """A digest of this package's source."""
    root, found = Path(__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def write(folder: Path, descent: Descent, stamp: Plain, carried: Plain) -> Path:
    """Write a checkpoint and drop all but the newest two; its path.

    Args:
        folder: where, created when missing.
        descent: between two GD steps.
        stamp: what the checkpoint belongs to; `newest` refuses it to anything else.
        carried: plain data to be given back.

    Raises:
        OSError: it could not be written; the older ones are as they were.
    """
    arrays: dict[str, Any] = {}
    header = {"stamp": stamp, "carried": carried, "state": _split(descent.state(), "", arrays)}
    arrays[HEADER] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, suffix=UNFINISHED)
    beside = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path = folder / f"step-{descent.step:09d}-{digest}.npz"
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    _sync(folder)
    for old in _files(folder)[GENERATIONS:]:
        old.unlink(missing_ok=True)
    return path


def newest(folder: Path, stamp: Plain, device: str = "cpu") -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint of a folder, and what is to be said of it, in plain lines.

    What is damaged, no checkpoint or of another stamp is removed, and what a write left that
    was cut off.
    """
    said: list[str] = []
    for left in folder.glob(f"*{UNFINISHED}"):
        left.unlink(missing_ok=True)
    for path in _files(folder):
        at = f"the checkpoint of step {path.name.split('-')[1].lstrip('0') or 0}"
        try:
            found = _read(path, torch.device(device))
        except UnusableError as error:
            said.append(f"{at} is not used: {error}")
        else:
            differ = [key for key in stamp if found.stamp.get(key) != stamp[key]]
            if not differ:
                return found, [*said, f"goes on from step {found.step}"]
            changes = (f"{key} was {found.stamp.get(key)}, is {stamp[key]}" for key in differ)
            said.append(f"{at} is not used: {', '.join(changes)}")
        path.unlink(missing_ok=True)
    return None, [*said, "starts anew from step 0"] if said else []


def _files(folder: Path) -> list[Path]:
    """The checkpoints of a folder, the newest first."""
    return sorted(folder.glob("step-*-*.npz"), reverse=True)


def _read(path: Path, device: torch.device) -> Checkpoint:
    """Read a file, what trains straight onto its device.

    Raises:
        UnusableError: it cannot be read, its bytes are not those that were written, or they
            are no checkpoint.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != path.stem.split("-")[2]:
            raise UnusableError("it is damaged, or cut off")
        return _parsed(path, device)
    except (UnusableError, *OUT_OF_MEMORY):
        raise
    except OSError as error:
        raise UnusableError(error.strerror or str(error)) from error
    except Exception as error:  # whatever numpy, zipfile and json say of what is none
        raise UnusableError(f"it is no checkpoint ({type(error).__name__}: {error})") from error


def _parsed(path: Path, device: torch.device) -> Checkpoint:
    """Read a file that is as it was written."""
    with np.load(path, allow_pickle=False) as arrays:
        header = json.loads(arrays[HEADER].tobytes())
        state = header["state"]
        groups = _joined(state.pop("groups"), arrays, device)
        state = _joined(state, arrays, torch.device("cpu")) | {"groups": groups}
    return Checkpoint(int(state["step"]), dict(header["stamp"]), dict(header["carried"]), state)


def _split(value: Any, name: str, arrays: dict[str, Any]) -> Any:
    """Put the tensors of a state into `arrays` by where they are; plain data in their place."""
    if isinstance(value, Tensor):
        arrays[name] = value.cpu().numpy()
        return {"array": name}
    if isinstance(value, dict):
        return {key: _split(part, f"{name}.{key}", arrays) for key, part in value.items()}
    if isinstance(value, list):
        return [_split(part, f"{name}.{k}", arrays) for k, part in enumerate(value)]
    return value


def _joined(value: Any, arrays: Any, device: torch.device) -> Any:
    """The state that `_split` took apart, its tensors in storage of torch's own.

    numpy aligns storage otherwise, and a product's last bits can depend on that.
    """
    if isinstance(value, dict):
        if value.keys() == {"array"}:
            found = torch.from_numpy(arrays[value["array"]])
            return torch.empty(found.shape, dtype=found.dtype, device=device).copy_(found)
        return {key: _joined(part, arrays, device) for key, part in value.items()}
    if isinstance(value, list):
        return [_joined(part, arrays, device) for part in value]
    return value


def _sync(folder: Path) -> None:
    """Make a rename last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
