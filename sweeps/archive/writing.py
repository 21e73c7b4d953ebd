"""A sweep into one file: its trials, its spec, its report, and a manifest of it all."""

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from sweeps import __version__, report_page
from sweeps.archive import layout, trials
from sweeps.archive.layout import Manifest, Member
from sweeps.archive.sheet import sheet
from sweeps.citation import Made, cite
from sweeps.config import LaunchConfig
from sweeps.errors import ConfigError
from sweeps.figures import Study
from sweeps.ledger import Failure, Ledger, SweepEntry
from sweeps.lookup import record_of
from sweeps.output_root import has_record, ledger_path, only
from sweeps.planning import PlannedTrial
from sweeps.record import Record
from sweeps.report import FAILED, MISSING, Line
from sweeps.report_page import Heading

# Every file in the archive says so: the same sweep makes the same bytes.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def export(config: LaunchConfig, prefix: str, target: Path | None) -> Path:
    """Write a sweep as an archive; where it is. By default under the output root.

    Raises:
        ConfigError: no sweep, or more than one, begins so, or it cannot be written there.
        TrackingError: MLflow, which holds some of its trials, cannot be reached.
    """
    output = Path(config.paths.output)
    has_record(output)
    with contextlib.closing(Ledger(ledger_path(config))) as ledger:
        entry = only(ledger.sweeps_like(prefix), prefix)
        path = target or output / "exports" / f"{entry.sweep}.zip"
        if target is None:
            path.parent.mkdir(exist_ok=True)
        with _replaced(path) as file:
            _write(file, entry, ledger, config)
    return path


@contextlib.contextmanager
def _replaced(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive that is there when it is whole.

    Raises:
        ConfigError: it cannot be made there.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    part = Path(name)
    try:
        with zipfile.ZipFile(part, "w") as file:
            yield file
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink()
        raise


def _write(file: zipfile.ZipFile, entry: SweepEntry, ledger: Ledger, config: LaunchConfig) -> None:
    planned = [PlannedTrial(**trial) for trial in entry.spec["trials"]]
    failures = ledger.failures(trial.config_hash for trial in planned)
    members: dict[str, Member] = {}
    lines: list[Line] = []
    made: list[Made] = []

    def put(name: str, content: bytes | str) -> None:
        data = content.encode() if isinstance(content, str) else content
        info = zipfile.ZipInfo(name, _NO_TIME)
        info.external_attr = 0o644 << 16
        packed = name.endswith((".png", ".parquet"))
        info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        file.writestr(info, data)
        members[name] = Member(hashlib.sha256(data).hexdigest(), len(data))

    reused = set(entry.spec["reused"])
    for trial in planned:
        record = _record(trial, reused, ledger, config)
        lines.append(_line(trial, reused, record, failures.get(trial.config_hash)))
        if record:
            made.append(Made(record.device, record.started, record.finished, record.environment))
            for name, content in trials.files(record).items():
                put(name, content)
    left = {line.planned.config_hash for line in lines if not line.finished}
    page = sheet(entry, {digest: f for digest, f in failures.items() if digest in left})
    put(layout.SWEEP, trials.as_json(asdict(page)))
    heading = Heading(entry.sweep, entry.study, entry.spec["command"], entry.spec["figure"])
    study = Study([line for line in lines if line.finished], ledger.trajectory)
    for name, drawn in report_page.files(heading, study, lines).items():
        put(layout.REPORT + name, drawn)
    put(layout.CITE, cite(entry, made))
    about = {"version": __version__, "sweep": entry.sweep, "study": entry.study}
    counts = {"finished": len(made), "total": len(lines), "format": layout.FORMAT}
    put(layout.README, layout.ABOUT.format(**about, **counts))
    manifest = Manifest(layout.FORMAT, f"deq-sweeps {__version__}", entry.sweep, members.copy())
    put(layout.MANIFEST, trials.as_json(asdict(manifest)))


def _record(
    trial: PlannedTrial, reused: set[str], ledger: Ledger, config: LaunchConfig
) -> Record | None:
    """A trial's record: the ledger's, or MLflow's of one that another machine trained."""
    found = ledger.get(trial.config_hash)
    if found is None and trial.config_hash in reused:
        with contextlib.suppress(ConfigError):
            return record_of(trial.config_hash, config)
    return found


def _line(
    trial: PlannedTrial, reused: set[str], record: Record | None, failure: Failure | None
) -> Line:
    if record:
        return Line(trial, record.status, record.summary, reused=trial.config_hash in reused)
    return Line(trial, FAILED, error=failure.error) if failure else Line(trial, MISSING)
