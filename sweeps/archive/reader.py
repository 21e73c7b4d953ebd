"""The files in an archive, read with distrust: names, sizes, checksums. Nothing is unpacked."""

import contextlib
import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeps.archive import layout
from sweeps.archive.layout import Manifest
from sweeps.archive.validation import plain_of, typed
from sweeps.errors import ConfigError


@dataclass(frozen=True)
class ArchiveReader:
    """An open archive whose names, sizes and checksums have been looked at."""

    file: zipfile.ZipFile
    manifest: Manifest

    def read(self, name: str) -> bytes:
        """A file's bytes, which are those the manifest names.

        Raises:
            ConfigError: they are not, or there is no such file.
        """
        if name not in self.manifest.files:
            raise ConfigError(f"the archive has no {name}")
        content = _read(self.file, name)
        member = self.manifest.files[name]
        if len(content) != member.bytes or hashlib.sha256(content).hexdigest() != member.sha256:
            raise ConfigError(f"{name} is not what the manifest says: its SHA-256 is another")
        return content

    def hashes(self) -> list[str]:
        """Those of the trials it holds, sorted."""
        return sorted({name.split("/")[1] for name in self.manifest.files if "trials/" in name})


@contextlib.contextmanager
def opened(path: Path) -> Iterator[ArchiveReader]:
    """An archive, every file of it held against the manifest once.

    Raises:
        ConfigError: it is none, of another format, too large, or holds what none may.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(zipfile.ZipFile(path))
            members = ArchiveReader(file, _described(file))
            for name in members.manifest.files:
                members.read(name)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
            raise ConfigError(f"{path} cannot be read as an archive: {error}") from error
        yield members


def _described(file: zipfile.ZipFile) -> Manifest:
    """An archive's manifest, which names what is there and no more."""
    names = _names(file)
    if layout.MANIFEST not in names:
        raise ConfigError(f"it has no {layout.MANIFEST}: `sweeps export` did not write it")
    manifest = _manifest(file)
    if odd := set(manifest.files) ^ (names - {layout.MANIFEST}):
        raise ConfigError(f"its manifest and its files differ: {min(odd)[:80]!r}")
    return manifest


def _names(file: zipfile.ZipFile) -> set[str]:
    infos = file.infolist()
    if len(infos) > layout.MOST_MEMBERS:
        raise ConfigError(f"{len(infos)} files are more than an archive holds")
    names: set[str] = set()
    for info in infos:
        # The name as it stands in the file: Python's own stops at a NUL.
        if not layout.NAME.fullmatch(info.orig_filename) or info.filename != info.orig_filename:
            raise ConfigError(f"{info.orig_filename[:80]!r} is no name of an archive's file")
        if info.filename in names:
            raise ConfigError(f"{info.filename} is there twice")
        kind = stat.S_IFMT(info.external_attr >> 16)
        plain = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if kind not in (0, stat.S_IFREG) or info.flag_bits & 1 or not plain:
            raise ConfigError(f"{info.filename} is a link, encrypted, or packed in another way")
        large = info.file_size > layout.RATIO_FROM
        if info.file_size > layout.MOST_BYTES or (
            large and info.file_size > layout.MOST_RATIO * info.compress_size
        ):
            raise ConfigError(f"{info.filename} would take {info.file_size} bytes: too many")
        names.add(info.filename)
    if sum(info.file_size for info in infos) > layout.MOST_TOTAL:
        raise ConfigError("unpacked it would take too many bytes")
    return names


def _manifest(file: zipfile.ZipFile) -> Manifest:
    plain = plain_of(layout.MANIFEST, _read(file, layout.MANIFEST))
    version = plain.get("format")
    if version != layout.FORMAT or isinstance(version, bool):
        shown = repr(version)[:20]
        raise ConfigError(f"its format is {shown}, and this version reads {layout.FORMAT}")
    return typed(Manifest, layout.MANIFEST, plain)


def _read(file: zipfile.ZipFile, name: str) -> bytes:
    """No more than the size that was looked at, whatever the stream would give."""
    size = file.getinfo(name).file_size
    try:
        with file.open(name) as stream:
            content = stream.read(size + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ConfigError(f"{name} cannot be read: {error}") from error
    if len(content) != size:
        raise ConfigError(f"{name} is not as long as it says")
    return content
