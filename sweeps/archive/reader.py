"""Read the files of an archive and compare them with their checksums.

Nothing is unpacked to disk.
"""

import contextlib
import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeps.archive import layout
from sweeps.archive.layout import Manifest
from sweeps.archive.validation import json_object, typed
from sweeps.errors import ConfigError


@dataclass(frozen=True)
class ArchiveReader:
    """An open archive whose manifest lists exactly its other files."""

    file: zipfile.ZipFile
    manifest: Manifest

    def read(self, name: str) -> bytes:
        """Read one file and compare it with its checksum.

        Raises:
            ConfigError: the file is missing, damaged or differs from the manifest.
        """
        if name not in self.manifest.files:
            raise ConfigError(f"the archive has no {name}")
        content = _read(self.file, name)
        info = self.manifest.files[name]
        if len(content) != info.bytes or hashlib.sha256(content).hexdigest() != info.sha256:
            raise ConfigError(f"{name} differs from the manifest (SHA-256 or size)")
        return content

    def trial_hashes(self) -> list[str]:
        """Config hashes of the trials with a result, sorted."""
        return sorted({name.split("/")[1] for name in self.manifest.files if "trials/" in name})

    def check_other_files(self) -> None:
        """Compare every file that belongs to no trial with its checksum.

        Raises:
            ConfigError: a file is damaged or differs from the manifest.
        """
        for name in self.manifest.files:
            if "trials/" not in name:
                self.read(name)


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[ArchiveReader]:
    """Open an archive and check its manifest.

    Raises:
        ConfigError: the file is not an archive, has another format, or holds files that its
            manifest does not list.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(zipfile.ZipFile(path))
            reader = ArchiveReader(file, _manifest(file))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigError(f"{path} cannot be read as an archive: {why}") from error
        yield reader


def _manifest(file: zipfile.ZipFile) -> Manifest:
    """Read the manifest and check that it lists exactly the other files."""
    names = set(file.namelist())
    if layout.MANIFEST not in names:
        raise ConfigError(f"it has no {layout.MANIFEST}: `sweeps export` did not write it")
    plain = json_object(layout.MANIFEST, _read(file, layout.MANIFEST))
    version = plain.get("format")
    if version != layout.FORMAT:
        shown = repr(version)[:20]
        raise ConfigError(f"its format is {shown}, and this version reads {layout.FORMAT}")
    manifest = typed(Manifest, layout.MANIFEST, plain)
    if differing := set(manifest.files) ^ (names - {layout.MANIFEST}):
        raise ConfigError(f"its manifest and its files differ: {min(differing)[:80]!r}")
    return manifest


def _read(file: zipfile.ZipFile, name: str) -> bytes:
    """Read at most as many bytes as the archive's directory states."""
    try:
        with file.open(name) as stream:
            return stream.read(file.getinfo(name).file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ConfigError(f"{name} cannot be read: {error}") from error
