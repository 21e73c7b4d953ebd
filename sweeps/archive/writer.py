"""Export a sweep to one zip file: trials, sweep.json, report, and a manifest with checksums."""

import contextlib
import functools
import hashlib
import os
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from sweeps import __version__
from sweeps.archive import layout, trials
from sweeps.archive.layout import FileInfo, Manifest
from sweeps.archive.schema import to_archived
from sweeps.config.launch import LaunchConfig
from sweeps.driver.page import report_files
from sweeps.driver.trial_states import TrialStates, outcomes_of, planned_of, single_sweep
from sweeps.errors import ConfigError
from sweeps.inspect.citation import Provenance, cite
from sweeps.inspect.lookup import record_of
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.disk_errors import explained_errors
from sweeps.storage.ledger import Ledger, Result, SweepEntry, reading
from sweeps.storage.output_root import ledger_path, require_record
from sweeps.storage.record import Record

# A fixed time stamp, so that the same sweep gives the same bytes.
_TIME_STAMP = (1980, 1, 1, 0, 0, 0)


def export(config: LaunchConfig, prefix: str, target: Path | None) -> Path:
    """Write a sweep as an archive.

    Args:
        config: launch config with the output root.
        prefix: first digits of the sweep's name.
        target: the file to write; by default one in the folder exports/ of the output root.

    Returns:
        The path of the archive.

    Raises:
        ConfigError: the prefix names no sweep or several, or the file cannot be written.
        TrackingError: MLflow holds some of the trials and cannot be reached.
    """
    output = Path(config.paths.output)
    require_record(output)
    with reading(ledger_path(config)) as ledger:
        entry = single_sweep(ledger.sweeps_like(prefix), prefix)
        path = target or output / "exports" / f"{entry.sweep}.zip"
        if target is None:
            path.parent.mkdir(exist_ok=True)
        with _replaced(path) as file:
            _write(_Writer(file), entry, ledger, config)
    return path


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file that replaces `path` once it is complete; a link is followed.

    Raises:
        ConfigError: the file cannot be written, or `path` is not a regular file.
    """
    path = Path(os.path.realpath(path))
    if os.path.lexists(path) and not path.is_file():
        raise ConfigError(f"{path} is not a regular file: choose another with -o")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no folder {path.parent}: make it, or choose another with -o")
    part = path.with_name(f".{path.name}.part")
    with explained_errors(path, caught=OSError):
        try:
            with zipfile.ZipFile(part, "w") as file:
                yield file
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


class _Writer:
    """Adds files to an archive and collects their checksums for the manifest."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self.files: dict[str, FileInfo] = {}

    def add(self, name: str, content: bytes | str) -> None:
        """Add one file; PNG and Parquet are stored without further compression."""
        data = content.encode() if isinstance(content, str) else content
        info = zipfile.ZipInfo(name, _TIME_STAMP)
        info.external_attr = 0o644 << 16
        compressed = name.endswith((".png", ".parquet"))
        info.compress_type = zipfile.ZIP_STORED if compressed else zipfile.ZIP_DEFLATED
        self._file.writestr(info, data)
        self.files[name] = FileInfo(hashlib.sha256(data).hexdigest(), len(data))


def _write(writer: _Writer, entry: SweepEntry, ledger: Ledger, config: LaunchConfig) -> None:
    """Write all files of a sweep; the manifest comes last."""
    planned = planned_of(entry)
    failures = ledger.failures(trial.config_hash for trial in planned)
    results: dict[str, Result] = {}
    provenance: list[Provenance] = []
    for trial in planned:
        record = _record(trial, entry, ledger, config)
        if record:
            results[trial.config_hash] = Result(record.status, record.summary)
            provenance.append(
                Provenance(record.device, record.started, record.finished, record.environment)
            )
            for name, data in trials.to_files(record).items():
                writer.add(name, data)
    outcomes = outcomes_of(planned, entry.spec["reused"], TrialStates(results, failures))
    unfinished = {digest: f for digest, f in failures.items() if digest not in results}
    writer.add(layout.SWEEP, trials.as_json(asdict(to_archived(entry, unfinished))))
    trajectory = functools.partial(ledger.trajectory, sweep=entry.sweep)
    for name, content in report_files(entry, outcomes, trajectory).items():
        writer.add(layout.REPORT + name, content)
    writer.add(layout.CITE, cite(entry, provenance))
    about = {"version": __version__, "sweep": entry.sweep, "study": entry.study}
    counts = {"finished": len(results), "total": len(planned), "format": layout.FORMAT}
    writer.add(layout.README, layout.ABOUT.format(**about, **counts))
    manifest = Manifest(
        layout.FORMAT, f"deq-sweeps {__version__}", entry.sweep, writer.files.copy()
    )
    writer.add(layout.MANIFEST, trials.as_json(asdict(manifest)))


def _record(
    trial: PlannedTrial, entry: SweepEntry, ledger: Ledger, config: LaunchConfig
) -> Record | None:
    """Record of a trial: from the ledger, or from MLflow if another machine trained it."""
    digest = trial.config_hash
    record = ledger.get(digest) or ledger.get(digest, entry.sweep)
    if record is None and digest in entry.spec["reused"]:
        with contextlib.suppress(ConfigError):
            return record_of(digest, config)
    return record
