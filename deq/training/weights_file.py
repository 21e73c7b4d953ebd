"""Trained weights on disk, as a safetensors file. The only module that imports safetensors.

The file holds the tensors `w`, `u` and `a`, and as text the trial's config, the caller's
own entries, and the SHA-256 of all that. Reading it runs no code.
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
from deq.training.files import publish, unfinished_file
from deq.training.trained import Trained
from deq.training.weights import Weights

SCHEMA = "1"
NAMES = ("w", "u", "a")


def save_weights(
    path: Path, config: TrialConfig, weights: Weights, stamp: Mapping[str, str]
) -> str:
    """Write a trial's weights; the file appears whole, and is on disk on return.

    Args:
        path: the file; its folder is created when missing.
        config: the trial.
        weights: its W, U and a.
        stamp: further text entries to store, such as a hash of the config.

    Returns:
        The SHA-256 of the file's content, 64 hex digits.

    Raises:
        OSError: the file could not be written.
    """
    from safetensors.torch import save_file

    tensors = {name: getattr(weights, name).contiguous() for name in NAMES}
    text = {**stamp, "config": json.dumps(dataclasses.asdict(config)), "schema": SCHEMA}
    digest = _digest(tensors, text)
    try:
        with unfinished_file(path.parent) as unfinished:
            mode = unfinished.stat().st_mode  # from the umask; safetensors makes it private
            save_file(tensors, unfinished, {**text, "sha256": digest})
            unfinished.chmod(mode)
            publish(unfinished, path)
    except OSError:
        raise
    except Exception as error:  # safetensors raises an error of its own on a full disk
        raise OSError(str(error)) from error
    return digest


class WeightsFileError(ValueError):
    """A weights file is missing or damaged, or holds no trial's weights."""


def load_trained(path: str | os.PathLike[str]) -> Trained:
    """Load the model from a trial's `weights.safetensors`.

    Only data is read. A user's own activation is imported, and must be the one that the
    trial was trained with.

    Raises:
        WeightsFileError: the file is missing or damaged, or holds no trial's weights.
        ValueError: the activation is not there, or is not the one of the trial.
    """
    return read_weights(Path(path))[0]


def read_weights(path: Path) -> tuple[Trained, dict[str, str]]:
    """Load the model and the text entries of a weights file.

    Returns:
        The model, and the entries: `sha256`, `config`, `schema` and those of `stamp`.

    Raises:
        WeightsFileError, ValueError: as `load_trained`.
    """
    try:
        tensors, text = _read(path)
        digest = text.pop("sha256", "")
        if text.get("schema") != SCHEMA:
            raise ValueError(f"it is of schema {text.get('schema', 'none')}, not {SCHEMA}")
        if digest != _digest(tensors, text):
            raise ValueError("it is damaged: its content is not what was written")
        stored = json.loads(text["config"])
    except OSError as error:
        raise WeightsFileError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # safetensors and json raise almost anything here
        why = " ".join(str(error).split())
        raise WeightsFileError(f"{path} holds no trial's weights: {why}") from error
    try:
        model = Trained(_config(stored), *(tensors[name] for name in NAMES))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    return model, text | {"sha256": digest}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and text; opening the file first gives a plain OSError where it is missing."""
    from safetensors import safe_open

    with path.open("rb"), safe_open(path, framework="pt") as file:
        if set(file.keys()) != set(NAMES):
            raise ValueError("it holds other tensors than w, u and a")
        return {name: file.get_tensor(name) for name in NAMES}, dict(file.metadata() or {})


def _digest(tensors: Mapping[str, Tensor], text: Mapping[str, str]) -> str:
    """Return the SHA-256 of text, names, dtypes, shapes and values."""
    digest = hashlib.sha256(json.dumps(dict(text), sort_keys=True).encode())
    for name in NAMES:
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().reshape(-1).data)
    return digest.hexdigest()


def _config(stored: dict[str, Any]) -> TrialConfig:
    """Rebuild the config from the output of `dataclasses.asdict`."""
    types: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(TrialConfig)}
    data_types = {_default_name(cls): cls for cls in get_args(DataConfig)}
    parts = {}
    for key, value in stored.items():
        cls = data_types[value["name"]] if key == "data" else types[key]
        parts[key] = cls(**_with_tuples(value)) if isinstance(value, dict) else value
    return TrialConfig(**parts)


def _default_name(cls: Any) -> Any:
    return next(field.default for field in dataclasses.fields(cls) if field.name == "name")


def _with_tuples(stored: dict[str, Any]) -> dict[str, Any]:
    """Turn lists back into the tuples that JSON does not have."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in stored.items()}
