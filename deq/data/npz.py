"""A user's own data set in an .npz file."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from deq.data.archive import DAMAGED
from deq.data.config import NpzConfig


def npz_digest(config: NpzConfig) -> str:
    """Return the SHA-256 of the file's bytes.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        with Path(config.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"cannot read data.path={config.path}: {error.strerror}") from error


def read_npz(config: NpzConfig) -> tuple[np.ndarray, np.ndarray]:
    """Read the file's arrays x (d, k) and y (k,) as float64, the held-out samples last.

    Raises:
        ValueError: the file has another digest than `sha256`, or lacks such arrays.
    """
    digest = npz_digest(config)
    if config.sha256 and config.sha256 != digest:
        raise ValueError(
            f"data.path={config.path} is not the file of this config: its SHA-256 is "
            f"{digest[:12]}..., not {config.sha256[:12]}..."
        )
    x, y = _arrays(config.path)
    if x.ndim != 2 or y.ndim != 1 or x.shape[1] != y.shape[0]:
        hint = ": transpose x" if x.ndim == 2 and x.shape[0] == y.shape[0] else ""
        raise ValueError(
            f"data.path={config.path}: x must be (d, n) and y (n,), "
            f"not {tuple(x.shape)} and {tuple(y.shape)}{hint}"
        )
    if x.size == 0:
        raise ValueError(f"data.path={config.path} holds no samples: x is {tuple(x.shape)}")
    n = x.shape[1] - config.test_n if config.n is None else config.n
    if n < 1 or n + config.test_n > x.shape[1]:
        held_out = f" and data.test_n={config.test_n} are" if config.test_n else " is"
        raise ValueError(
            f"data.n={config.n}{held_out} larger than the data set: {config.path} has "
            f"{x.shape[1]} samples"
        )
    return x[:, : n + config.test_n], y[: n + config.test_n]


def _arrays(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the arrays x and y, of any shape, as float64."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f"data.path={path} is no .npz file: write it with numpy.savez")
    try:
        # Opened here, because numpy leaves a damaged file open.
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            names = list(file.files)
            arrays = {key: _member(file, key) for key in ("x", "y") if key in names}
    except (*DAMAGED, MemoryError) as error:
        # numpy's ValueErrors advise on its own arguments.
        why = "" if isinstance(error, ValueError) else f" ({' '.join(str(error).split())})"
        raise ValueError(f"data.path={path} is damaged{why}: write it anew") from error
    missing = [key for key in ("x", "y") if key not in arrays]
    if missing:
        raise ValueError(
            f"data.path={path} has no array {missing[0]!r}: "
            f"it needs x (d, n) and y (n,), and has {', '.join(map(repr, names)) or 'none'}"
        )
    return _real(arrays["x"], "x", path), _real(arrays["y"], "y", path)


def _member(file: Any, key: str) -> np.ndarray:
    """Read an array; return an empty one of dtype object for an array of Python objects."""
    try:
        return np.asarray(file[key])
    except ValueError as error:
        if "Object arrays" in str(error):  # reading them needs pickle
            return np.empty(0, dtype=object)
        raise


def _real(array: np.ndarray, name: str, path: str) -> np.ndarray:
    """Convert to float64; refuse anything but finite real numbers."""
    if array.dtype.kind not in "fiub":
        convert = f"{name}={name}.astype(float)"
        if array.dtype.kind == "c":
            convert = f"for example {name}=abs({name})"
        raise ValueError(
            f"data.path={path}: array {name} must hold real numbers, not {array.dtype}: "
            f"save it as numbers, {convert}"
        )
    with np.errstate(over="ignore"):  # a longdouble past float64's range is reported below
        numbers = array.astype(np.float64, order="C")
    bad = np.argwhere(~np.isfinite(numbers))
    if len(bad):
        raise ValueError(
            f"data.path={path}: array {name} has {len(bad)} values that are not finite in "
            f"float64, the first at index {tuple(bad[0].tolist())}: drop these samples"
        )
    return numbers
