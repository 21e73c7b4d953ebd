"""OpenML's sets of images: downloaded once, kept as bytes. The door to fetch_openml."""

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
# Seconds without an answer after which OpenML counts as away.
PATIENCE = 20.0

# Errors that reading a truncated or altered .npz file raises.
DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    RuntimeError,  # a flag says encrypted, or compressed in a way zipfile does not know
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Archive:
    """A data set of OpenML in one .npz file: an array (count, d) of bytes for each class.

    Its members are named "0" to "9"; each carries its zip checksum, which reading checks,
    so that two classes are read in milliseconds and damage is noticed.

    Attributes:
        path: the file. It appears whole or not at all.
        data_id: OpenML's number of the data set, which fixes its version.
    """

    path: Path
    data_id: int

    def images(self, classes: Sequence[int]) -> dict[int, np.ndarray]:
        """The images of these classes, uint8 (count, d), in OpenML's order.

        Downloads the data set when the file is not there, or damaged.

        Raises:
            ValueError: it cannot be downloaded, or has no such class.
        """
        try:
            found = self._read(classes)
        except FileNotFoundError:
            found = self._renewed(classes, "")
        except DAMAGED as error:
            found = self._renewed(classes, f"{self.path} is damaged ({error}), and ")
        absent = [label for label in classes if label not in found]
        if absent:
            raise ValueError(f"{self.path} has no samples of class {absent[0]}")
        return found

    def _read(self, classes: Sequence[int]) -> dict[int, np.ndarray]:
        with self.path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {label: arrays[str(label)] for label in classes if str(label) in arrays}
        if any(array.dtype != np.uint8 or array.ndim != 2 for array in found.values()):
            raise ValueError("its arrays are not bytes (count, d)")
        return found

    def _renewed(self, classes: Sequence[int], why: str) -> dict[int, np.ndarray]:
        try:
            self._download()
            return self._read(classes)
        except Exception as error:  # a bad answer makes scikit-learn raise almost anything
            raise ValueError(
                f"{why}cannot download it (OpenML's data set {self.data_id}): {_reason(error)}; "
                f"try again online, or put the {self.path.name} of another machine into "
                f"{self.path.parent}, or use arrays of your own: data=npz data.path=FILE"
            ) from error

    def _download(self) -> None:
        """Put the file in its place at once; what a broken download leaves goes away."""
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        _LOG.info("downloading %s (OpenML's data set %d) ...", self.path.name, self.data_id)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as home:
            pixels, labels = _fetched(self.data_id, home)
            whole = Path(home) / self.path.name
            np.savez(whole, **{str(label): pixels[labels == label] for label in set(labels)})
            whole.replace(self.path)


def _fetched(data_id: int, home: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, d) and labels (n,) as bytes; all but whole numbers of 0 .. 255 are refused.

    The parser is scikit-learn's with pandas. The one without holds all pixels twice in
    float64: 1 GB for MNIST and 3 GB for CIFAR-10, where this one needs 0.3 and 0.6 GB.
    """
    from sklearn.datasets import fetch_openml  # slow to import, and not every data set needs it

    with _impatient():
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
def _impatient() -> Iterator[None]:
    """No waiting without end, and no second attempts: scikit-learn has neither as an option."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        with warnings.catch_warnings():
            # It warns before it tries again; raised, the warning ends the attempt.
            warnings.filterwarnings("error", message="A network error|Invalid cache")
            yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: BaseException) -> str:
    """What went wrong first, in one line."""
    while isinstance(error, Warning) and error.__context__ is not None:
        error = error.__context__
    if isinstance(error, HTTPError):
        error.close()
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, URLError):
        return str(error.reason)
    return " ".join(f"{error}".split()) or type(error).__name__
