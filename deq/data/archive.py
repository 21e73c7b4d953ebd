"""Image sets of OpenML, downloaded once and stored as bytes. The only module with fetch_openml."""

import contextlib
import logging
import socket
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError

import numpy as np

_LOG = logging.getLogger(__name__)
# Network timeout in seconds.
PATIENCE = 20.0

# Errors that reading a truncated or altered .npz file raises.
DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    RuntimeError,  # flagged as encrypted, or an unknown compression
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Archive:
    """A data set of OpenML in one .npz file, with an array of bytes for each class.

    Members are named "0" to "9", (count, d) each, with the checksum of the zip format. Two
    classes are read in milliseconds, and damage is detected.

    Attributes:
        path: the file. It appears whole or not at all.
        data_id: OpenML's number of the data set, which fixes its version.
    """

    path: Path
    data_id: int

    def images(self, classes: Sequence[int]) -> dict[int, np.ndarray]:
        """Return the images of these classes, uint8 (count, d), in OpenML's order.

        Downloads the data set if the file is missing or damaged.

        Raises:
            ValueError: it cannot be downloaded, or lacks a class.
        """
        try:
            images = self._read(classes)
        except FileNotFoundError:
            images = self._download_and_read(classes, "")
        except DAMAGED as error:
            images = self._download_and_read(classes, f"{self.path} is damaged ({error}), and ")
        missing = [label for label in classes if label not in images]
        if missing:
            raise ValueError(f"{self.path} has no samples of class {missing[0]}")
        return images

    def _read(self, classes: Sequence[int]) -> dict[int, np.ndarray]:
        with self.path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images = {label: arrays[str(label)] for label in classes if str(label) in arrays}
        if any(array.dtype != np.uint8 or array.ndim != 2 for array in images.values()):
            raise ValueError("its arrays are not bytes (count, d)")
        return images

    def _download_and_read(self, classes: Sequence[int], why: str) -> dict[int, np.ndarray]:
        try:
            self._download()
            return self._read(classes)
        except Exception as error:  # scikit-learn may raise almost anything
            raise ValueError(
                f"{why}cannot download it (OpenML's data set {self.data_id}): {_reason(error)}; "
                f"try again online, or put the {self.path.name} of another machine into "
                f"{self.path.parent}, or use arrays of your own: data=npz data.path=FILE"
            ) from error

    def _download(self) -> None:
        """Download into a temporary folder, then move the file to its path."""
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        _LOG.info("downloading %s (OpenML's data set %d) ...", self.path.name, self.data_id)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as home:
            pixels, labels = _fetch(self.data_id, home)
            whole = Path(home) / self.path.name
            np.savez(whole, **{str(label): pixels[labels == label] for label in set(labels)})
            whole.replace(self.path)


def _fetch(data_id: int, home: str) -> tuple[np.ndarray, np.ndarray]:
    """Download pixels (n, d) and labels (n,) as bytes; only integers in 0 .. 255 are accepted.

    Parsed with pandas: scikit-learn's own parser holds all pixels twice in float64, 1 GB for
    MNIST and 3 GB for CIFAR-10 instead of 0.3 and 0.6 GB.
    """
    from sklearn.datasets import fetch_openml  # slow to import

    with _fail_fast():
        pixels, labels = fetch_openml(
            data_id=data_id,
            data_home=home,
            as_frame=False,
            return_X_y=True,
            parser="pandas",
            read_csv_kwargs={"dtype": "uint8", "quotechar": "'"},
        )
    return pixels, labels


@contextlib.contextmanager
def _fail_fast() -> Iterator[None]:
    """Set a network timeout and forbid second attempts; scikit-learn has no option for either."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        with warnings.catch_warnings():
            # scikit-learn warns before a second attempt; as an error the warning prevents it.
            warnings.filterwarnings("error", message="A network error|Invalid cache")
            yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: BaseException) -> str:
    """Return the first cause of a failed download, in one line."""
    while isinstance(error, Warning) and error.__context__ is not None:
        error = error.__context__
    if isinstance(error, HTTPError):
        error.close()
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, URLError):
        return str(error.reason)
    return " ".join(f"{error}".split()) or type(error).__name__
