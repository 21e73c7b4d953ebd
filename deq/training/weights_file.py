"""Weights on disk: a safetensors file that says of which trial they are. Its door.

The file holds the tensors `w`, `u`, `a`, and as text the trial's config, plain data of
whoever wrote it, and the SHA-256 of all that. Nothing in it is run when it is read.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from deq.config import TrialConfig
from deq.data.config import DataConfig
from deq.training.trained import Trained
from deq.training.weights import Weights

SCHEMA = "1"
NAMES = ("w", "u", "a")


def save_weights(
    path: Path, config: TrialConfig, weights: Weights, stamp: Mapping[str, str]
) -> str:
    """Write a trial's weights, whole or not at all, and on disk when it returns.

    Args:
        path: the file; its folder is created when missing.
        config: the trial.
        weights: its W, U and a.
        stamp: further text to be kept with them, such as a hash of the config.

    Returns:
        The SHA-256 of what the file holds.

    Raises:
        OSError: it could not be written.
    """
    from safetensors.torch import save_file

    tensors = {name: getattr(weights, name).contiguous() for name in NAMES}
    said = {**stamp, "config": json.dumps(dataclasses.asdict(config)), "schema": SCHEMA}
    digest = _digest(tensors, said)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        beside.touch()
        mode = beside.stat().st_mode  # as the umask has it; safetensors makes it private
        save_file(tensors, beside, {**said, "sha256": digest})
        beside.chmod(mode)
        _sync(beside)
        beside.replace(path)
    except OSError:
        raise
    except Exception as error:  # what safetensors makes of a disk that is full
        raise OSError(str(error)) from error
    finally:
        beside.unlink(missing_ok=True)
    _sync(path.parent)
    return digest


def load_trained(path: str | os.PathLike[str]) -> Trained:
    """The model of a `weights.safetensors` that a trial left.

    Only data is read. An activation of the user's own is imported, and must be the one
    that was trained with.

    Raises:
        ValueError: there is no such file, it is damaged, or it holds no trial's weights.
    """
    return read_weights(Path(path))[0]


def read_weights(path: Path) -> tuple[Trained, dict[str, str]]:
    """The same, and what else the file says: `sha256`, and what it was stamped with.

    Raises:
        ValueError: as `load_trained`.
    """
    try:
        tensors, said = _read(path)
        digest = said.pop("sha256", "")
        if said.get("schema") != SCHEMA:
            raise ValueError(f"it is of schema {said.get('schema', 'none')}, not {SCHEMA}")
        if digest != _digest(tensors, said):
            raise ValueError("it is damaged: what it holds is not what was written")
        config = _config(json.loads(said["config"]))
        model = Trained(config, *(tensors[name] for name in NAMES))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever safetensors and json say of what is none
        why = " ".join(str(error).split())
        raise ValueError(f"{path} holds no trial's weights: {why}") from error
    return model, said | {"sha256": digest}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import safe_open

    with path.open("rb"), safe_open(path, framework="pt") as file:
        if set(file.keys()) != set(NAMES):
            raise ValueError("it holds other tensors than w, u and a")
        return {name: file.get_tensor(name) for name in NAMES}, dict(file.metadata() or {})


def _digest(tensors: Mapping[str, Tensor], said: Mapping[str, str]) -> str:
    found = hashlib.sha256(json.dumps(dict(said), sort_keys=True).encode())
    for name in NAMES:
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.numpy().reshape(-1).data)
    return found.hexdigest()


def _config(plain: dict[str, Any]) -> TrialConfig:
    """The config that `dataclasses.asdict` made plain."""
    parts: dict[str, Any] = {f.name: f.type for f in dataclasses.fields(TrialConfig)}
    kinds = {f.default: kind for kind in get_args(DataConfig) for f in _named(kind)}
    found = {}
    for key, value in plain.items():
        kind = kinds[value["name"]] if key == "data" else parts[key]
        found[key] = kind(**_tuples(value)) if isinstance(value, dict) else value
    return TrialConfig(**found)


def _named(kind: Any) -> list[Any]:
    return [field for field in dataclasses.fields(kind) if field.name == "name"]


def _tuples(plain: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
