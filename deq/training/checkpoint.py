"""Checkpoints: gradient descent on disk between two GD steps, so that a crash loses little.

A checkpoint is a .npz file without pickle: one array for each tensor and a JSON header for
the rest. Its name holds its step and the SHA-256 of its bytes.
"""

import functools
import hashlib
import json
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
from deq.training.files import UNFINISHED, publish, unfinished_file
from deq.training.gradient_descent import GradientDescent
from deq.training.state import State

# Checkpoints kept: the newest, and one to fall back on if the disk loses the newest.
GENERATIONS = 2
HEADER = "header"
PACKAGE = Path(__file__).parents[1]

Plain = dict[str, Any]
# Errors that say nothing about the file being read.
OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)


class UnusableError(Exception):
    """A checkpoint cannot be used; training starts anew."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    Attributes:
        step: the GD step that comes next.
        stamp: identifies the trials and the environment that the checkpoint belongs to.
        metadata: plain data that the writer added.
        state: see `GradientDescent.state`.
    """

    step: int
    stamp: Plain
    metadata: Plain
    state: State

    def descent(
        self,
        configs: Sequence[TrialConfig],
        datasets: Sequence[Dataset],
        *,
        keep_weights: bool = False,
    ) -> GradientDescent:
        """Restore the descent. Only once: the tensors move out of the checkpoint.

        Raises:
            UnusableError: the state does not fit these trials.
        """
        state = dict(self.state)
        self.state.clear()
        try:
            return GradientDescent.restored(configs, datasets, state, keep_weights=keep_weights)
        except OUT_OF_MEMORY:
            raise
        except Exception as error:
            raise UnusableError(f"{type(error).__name__}: {error}") from error


def numerical_environment(device: str = "cpu") -> Plain:
    """Return what decides a trajectory's last bits beside the configs: code and hardware."""
    machine = hardware()
    return {
        "deq": _code_digest(),
        "torch": torch.__version__,
        "device": device,
        "GPU": machine["gpu"] if device.startswith("cuda") else "",
        "threads": machine["threads"],
        "CPU capability": machine["cpu_capability"],
    }


@functools.cache
def _code_digest() -> str:
    """Return 12 hex digits of the SHA-256 of this package's source."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def write_checkpoint(folder: Path, descent: GradientDescent, stamp: Plain, metadata: Plain) -> Path:
    """Write a checkpoint, remove all but the newest two, and return its path.

    Args:
        folder: created when missing.
        descent: between two GD steps.
        stamp: what the checkpoint belongs to; `load_newest` accepts no other.
        metadata: plain data that `load_newest` returns with the checkpoint.

    Raises:
        OSError: the file could not be written; the older ones are unchanged.
    """
    arrays: dict[str, Any] = {}
    state = _extract_tensors(descent.state(), "", arrays)
    header = {"stamp": stamp, "metadata": metadata, "state": state}
    arrays[HEADER] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    with unfinished_file(folder) as unfinished:
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)
        path = folder / f"step-{descent.step:09d}-{_sha256(unfinished)}.npz"
        publish(unfinished, path)
    for old in _checkpoints_in(folder)[GENERATIONS:]:
        old.unlink(missing_ok=True)
    return path


def load_newest(
    folder: Path, stamp: Plain, device: str = "cpu"
) -> tuple[Checkpoint | None, list[str]]:
    """Load the newest usable checkpoint of a folder; remove unusable ones.

    A checkpoint is unusable if it is damaged, or if it belongs to another stamp.

    The worker of a driver that was killed goes on for about a second. It may write newer
    checkpoints meanwhile and remove the one that is read here; then the folder is listed again.

    Args:
        folder: the checkpoints of one pack.
        stamp: what a checkpoint must belong to.
        device: where the tensors of training are put.

    Returns:
        The checkpoint, or None, and lines for the user on what was used and what was not.
    """
    messages: list[str] = []
    for unfinished in folder.glob(f"*{UNFINISHED}"):
        unfinished.unlink(missing_ok=True)
    tried: set[Path] = set()
    while path := next((p for p in _checkpoints_in(folder) if p not in tried), None):
        tried.add(path)
        try:
            checkpoint = _read(path, torch.device(device))
            _check_stamp(checkpoint.stamp, stamp)
        except FileNotFoundError:
            continue
        except UnusableError as error:
            step = path.name.split("-")[1].lstrip("0") or 0
            messages.append(f"the checkpoint of step {step} is not used: {error}")
            path.unlink(missing_ok=True)
        else:
            return checkpoint, [*messages, f"goes on from step {checkpoint.step}"]
    return None, [*messages, "starts anew from step 0"] if messages else []


def _check_stamp(stored: Plain, expected: Plain) -> None:
    """Raise UnusableError if a checkpoint belongs to something else."""
    changes = [
        f"{key} was {stored.get(key)}, is {value}"
        for key, value in expected.items()
        if stored.get(key) != value
    ]
    if changes:
        raise UnusableError(", ".join(changes))


def _checkpoints_in(folder: Path) -> list[Path]:
    """List the checkpoints of a folder, the newest first."""
    return sorted(folder.glob("step-*-*.npz"), reverse=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, device: torch.device) -> Checkpoint:
    """Read a checkpoint; the tensors of training go straight to their device.

    Raises:
        FileNotFoundError: the file is gone.
        UnusableError: it cannot be read, is damaged, or is no checkpoint.
    """
    try:
        if _sha256(path) != path.stem.split("-")[2]:
            raise UnusableError("it is damaged, or cut off")
        return _parse(path, device)
    except (UnusableError, FileNotFoundError, *OUT_OF_MEMORY):
        raise
    except OSError as error:
        raise UnusableError(error.strerror or str(error)) from error
    except Exception as error:  # numpy, zipfile and json raise almost anything here
        raise UnusableError(f"it is no checkpoint ({type(error).__name__}: {error})") from error


def _parse(path: Path, device: torch.device) -> Checkpoint:
    """Read a file whose bytes are known to be intact."""
    with np.load(path, allow_pickle=False) as arrays:
        header = json.loads(arrays[HEADER].tobytes())
        state = header["state"]
        groups = _insert_tensors(state.pop("groups"), arrays, device)
        state = _insert_tensors(state, arrays, torch.device("cpu")) | {"groups": groups}
    return Checkpoint(int(state["step"]), dict(header["stamp"]), dict(header["metadata"]), state)


def _extract_tensors(value: Any, name: str, arrays: dict[str, Any]) -> Any:
    """Move the tensors of a state into `arrays`, named by their place; return plain data."""
    if isinstance(value, Tensor):
        arrays[name] = value.cpu().numpy()
        return {"array": name}
    if isinstance(value, dict):
        return {key: _extract_tensors(v, f"{name}.{key}", arrays) for key, v in value.items()}
    if isinstance(value, list):
        return [_extract_tensors(v, f"{name}.{k}", arrays) for k, v in enumerate(value)]
    return value


def _insert_tensors(value: Any, arrays: Any, device: torch.device) -> Any:
    """Undo `_extract_tensors`. The tensors get storage allocated by torch.

    numpy aligns storage differently, and a product's last bits can depend on that.
    """
    if isinstance(value, dict):
        if value.keys() == {"array"}:
            array = torch.from_numpy(arrays[value["array"]])
            return torch.empty(array.shape, dtype=array.dtype, device=device).copy_(array)
        return {key: _insert_tensors(part, arrays, device) for key, part in value.items()}
    if isinstance(value, list):
        return [_insert_tensors(part, arrays, device) for part in value]
    return value
