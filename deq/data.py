"""Data sets: inputs as columns of norm sqrt(d), and targets. The door to scikit-learn."""

import hashlib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

# Columns whose |cosine| is this close to 1 are parallel: lambda_star would be rounding.
PARALLEL = 1e-10


@dataclass(frozen=True)
class DigitsConfig:
    """Scikit-learn's bundled handwritten digits: two classes, d = 64, labels -1 and 1.

    The first n/2 samples of each class (the first class has one more when n is odd),
    centred (the mean sample subtracted), each normalised to norm sqrt(d).
    """

    name: Literal["digits"] = "digits"
    n: int = 64
    classes: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        """Refuse classes that are not two different digits."""
        _check_n(self.n)
        if len(set(self.classes)) != 2 or not set(self.classes) <= set(range(10)):
            raise ValueError(f"classes must be two different digits, not {list(self.classes)}")


@dataclass(frozen=True)
class SphereConfig:
    """Ling et al.'s synthetic set: uniform on the sphere of radius sqrt(d), y ~ N(0, 1).

    The set has a seed of its own, so that trials of several seeds share it.
    """

    name: Literal["sphere"] = "sphere"
    n: int = 64
    d: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an empty set."""
        _check_n(self.n)
        if self.d < 2:
            raise ValueError(f"d must be at least 2, not {self.d}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be in 0 .. 2**63 - 1, not {self.seed}")


@dataclass(frozen=True)
class NpzConfig:
    """A user's own arrays: `x` (d, n), samples as columns, and `y` (n,) in one .npz file.

    Attributes:
        path: the file. Where it lies is not part of an experiment's identity.
        n: how many samples to take, from the first; all when null.
        sha256: the digest of the file; filled in when the trial is composed, and
            checked when the file is read.
    """

    name: Literal["npz"] = "npz"
    path: str = field(default="", metadata={"identity": False})
    n: int | None = None
    sha256: str = ""

    def __post_init__(self) -> None:
        """Refuse a missing path."""
        if self.n is not None:
            _check_n(self.n)
        if not self.path:
            raise ValueError("path is empty: give the .npz file, data.path=FILE")


DataConfig = DigitsConfig | SphereConfig | NpzConfig


@dataclass(frozen=True)
class Dataset:
    """Inputs x (d, n), columns of norm sqrt(d), and targets y (n,), both float64."""

    x: Tensor
    y: Tensor


def load(config: DataConfig) -> Dataset:
    """The data set of a config, checked.

    Raises:
        ValueError: it cannot be used for training: too few samples, values that are
            not finite, zero columns or parallel columns; the message names them.
    """
    if isinstance(config, DigitsConfig):
        x, y = _digits(config)
    elif isinstance(config, SphereConfig):
        x, y = _sphere(config)
    else:
        x, y = _npz(config)
    return Dataset(x=_normalised(x), y=y)


def digest(config: NpzConfig) -> str:
    """SHA-256 of the file's bytes.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        with Path(config.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"cannot read data.path={config.path}: {error.strerror}") from error


def _check_n(n: int) -> None:
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")


def _digits(config: DigitsConfig) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits  # slow to import, and not every data set needs it

    pixels, labels = load_digits(return_X_y=True)
    wanted = ((config.n + 1) // 2, config.n // 2)
    chosen = []
    for digit, count in zip(config.classes, wanted, strict=True):
        rows = np.flatnonzero(labels == digit)
        if len(rows) < count:
            raise ValueError(
                f"data.n={config.n} is larger than the data set: digits has "
                f"{len(rows)} samples of class {digit}, so n is at most {2 * len(rows)}"
            )
        chosen.append(rows[:count])
    x = torch.tensor(pixels[np.concatenate(chosen)].T, dtype=torch.float64)
    y = torch.cat([-torch.ones(wanted[0]), torch.ones(wanted[1])]).double()
    return x - x.mean(dim=1, keepdim=True), y


def _sphere(config: SphereConfig) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(config.seed)
    x = torch.randn(config.d, config.n, dtype=torch.float64, generator=generator)
    return x, torch.randn(config.n, dtype=torch.float64, generator=generator)


def _npz(config: NpzConfig) -> tuple[Tensor, Tensor]:
    found = digest(config)
    if config.sha256 and config.sha256 != found:
        raise ValueError(
            f"data.path={config.path} is not the file of this config: its SHA-256 is "
            f"{found[:12]}..., not {config.sha256[:12]}..."
        )
    if not zipfile.is_zipfile(config.path):
        raise ValueError(f"data.path={config.path} is no .npz file: write it with numpy.savez")
    try:
        with np.load(config.path, allow_pickle=False) as arrays:
            missing = [key for key in ("x", "y") if key not in arrays]
            if missing:
                raise ValueError(
                    f"data.path={config.path} has no array {missing[0]!r}: "
                    f"it needs x (d, n) and y (n,), and has {', '.join(arrays.files) or 'none'}"
                )
            raw_x, raw_y = np.asarray(arrays["x"]), np.asarray(arrays["y"])
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"data.path={config.path} cannot be read: {error}") from error
    x, y = _real(raw_x, "x"), _real(raw_y, "y")
    if x.ndim != 2 or y.ndim != 1 or x.shape[1] != y.shape[0]:
        hint = ": transpose x" if x.ndim == 2 and x.shape[0] == y.shape[0] else ""
        raise ValueError(
            f"data.path={config.path}: x must be (d, n) and y (n,), "
            f"not {tuple(x.shape)} and {tuple(y.shape)}{hint}"
        )
    if x.numel() == 0:
        raise ValueError(f"data.path={config.path} holds no samples: x is {tuple(x.shape)}")
    if config.n is not None and config.n > x.shape[1]:
        raise ValueError(
            f"data.n={config.n} is larger than the data set: {config.path} has {x.shape[1]} samples"
        )
    n = config.n or x.shape[1]
    return x[:, :n], y[:n]


def _real(array: np.ndarray, name: str) -> Tensor:
    if array.dtype.kind not in "fiub":
        raise ValueError(f"array {name} must hold real numbers, not {array.dtype}")
    tensor = torch.tensor(array.astype(np.float64))
    bad = (~torch.isfinite(tensor)).nonzero()
    if len(bad):
        raise ValueError(
            f"array {name} has {len(bad)} values that are not finite, "
            f"the first at index {tuple(bad[0].tolist())}"
        )
    return tensor


def _normalised(x: Tensor) -> Tensor:
    """Columns scaled to norm sqrt(d); refused when any is zero or two are parallel."""
    norms = torch.linalg.vector_norm(x, dim=0)
    zero = (norms == 0).nonzero().flatten().tolist()
    if zero:
        raise ValueError(f"columns of x that are zero: {_some(zero)}")
    x = x / norms * x.shape[0] ** 0.5
    cosine = (x.mT @ x / x.shape[0]).abs().triu(diagonal=1)
    parallel = (cosine > 1 - PARALLEL).nonzero().tolist()
    if parallel:
        pairs = [f"{i} and {j}" for i, j in parallel]
        raise ValueError(f"columns of x that are parallel: {_some(pairs)}")
    return x


def _some(items: list[int] | list[str]) -> str:
    shown = ", ".join(str(item) for item in items[:5])
    return shown if len(items) <= 5 else f"{shown} and {len(items) - 5} more"
