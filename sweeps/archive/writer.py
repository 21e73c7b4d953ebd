"""A sweep into one file: its trials, its spec, its report, and a manifest of it all."""

import contextlib
import functools
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from sweeps import __version__
from sweeps.archive import layout, trials
from sweeps.archive.layout import Manifest, Member
from sweeps.archive.schema import sheet
from sweeps.config.request import LaunchConfig
from sweeps.driver.outbox import report_of
from sweeps.driver.trial_states import TrialStates, only, outcomes_of, planned_of
from sweeps.errors import ConfigError
from sweeps.inspect.citation import Provenance, cite
from sweeps.inspect.lookup import record_of
from sweeps.planning.plan import PlannedTrial
from sweeps.storage.disk_errors import explained_errors
from sweeps.storage.ledger import Ledger, Result, SweepEntry, reading
from sweeps.storage.output_root import ledger_path, require_record
from sweeps.storage.record import Record

# Every file in the archive says so: the same sweep makes the same bytes.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def export(config: LaunchConfig, prefix: str, target: Path | None) -> Path:
    """Write a sweep as an archive; where it is. By default under the output root.

    Raises:
        ConfigError: no sweep, or more than one, begins so, or it cannot be written there.
        TrackingError: MLflow, which holds some of its trials, cannot be reached.
    """
    output = Path(config.paths.output)
    require_record(output)
    with reading(ledger_path(config)) as ledger:
        entry = only(ledger.sweeps_like(prefix), prefix)
        path = target or output / "exports" / f"{entry.sweep}.zip"
        if target is None:
            path.parent.mkdir(exist_ok=True)
        with _replaced(path) as file:
            _write(_Writer(file), entry, ledger, config)
    return path


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive that is there when it is whole; where `path` is a link, what it leads to.

    Raises:
        ConfigError: it cannot be made there, or what is there is no regular file.
    """
    path = Path(os.path.realpath(path))
    try:
        if os.path.lexists(path) and not path.is_file():
            raise ConfigError(f"{path} is no regular file: name another with -o")
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    part = Path(name)
    try:
        with explained_errors(path, caught=OSError):
            with zipfile.ZipFile(part, "w") as file:
                yield file
            part.chmod(0o644)
            part.replace(path)
    except BaseException:
        part.unlink()
        raise


class _Writer:
    """Puts files into an archive, and keeps account of them for its manifest."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self.members: dict[str, Member] = {}

    def put(self, name: str, content: bytes | str) -> None:
        data = content.encode() if isinstance(content, str) else content
        info = zipfile.ZipInfo(name, _NO_TIME)
        info.external_attr = 0o644 << 16
        packed = name.endswith((".png", ".parquet"))
        info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        self._file.writestr(info, data)
        self.members[name] = Member(hashlib.sha256(data).hexdigest(), len(data))


def _write(writer: _Writer, entry: SweepEntry, ledger: Ledger, config: LaunchConfig) -> None:
    planned = planned_of(entry)
    failures = ledger.failures(trial.config_hash for trial in planned)
    results: dict[str, Result] = {}
    made: list[Provenance] = []
    for trial in planned:
        record = _record(trial, entry, ledger, config)
        if record:
            results[trial.config_hash] = Result(record.status, record.summary)
            made.append(
                Provenance(record.device, record.started, record.finished, record.environment)
            )
            for name, content in trials.files(record).items():
                writer.put(name, content)
    lines = outcomes_of(planned, entry.spec["reused"], TrialStates(results, failures))
    left = {digest: failure for digest, failure in failures.items() if digest not in results}
    writer.put(layout.SWEEP, trials.as_json(asdict(sheet(entry, left))))
    trajectory = functools.partial(ledger.trajectory, sweep=entry.sweep)
    for name, drawn in report_of(entry, lines, trajectory).items():
        writer.put(layout.REPORT + name, drawn)
    writer.put(layout.CITE, cite(entry, made))
    about = {"version": __version__, "sweep": entry.sweep, "study": entry.study}
    counts = {"finished": len(made), "total": len(lines), "format": layout.FORMAT}
    writer.put(layout.README, layout.ABOUT.format(**about, **counts))
    members = writer.members.copy()
    manifest = Manifest(layout.FORMAT, f"deq-sweeps {__version__}", entry.sweep, members)
    writer.put(layout.MANIFEST, trials.as_json(asdict(manifest)))


def _record(
    trial: PlannedTrial, entry: SweepEntry, ledger: Ledger, config: LaunchConfig
) -> Record | None:
    """A trial's record: the ledger's, or MLflow's of one that another machine trained."""
    digest = trial.config_hash
    found = ledger.get(digest) or ledger.get(digest, entry.sweep)
    if found is None and digest in entry.spec["reused"]:
        with contextlib.suppress(ConfigError):
            return record_of(digest, config)
    return found
