"""File names and JSON schemas of an archive."""

from dataclasses import dataclass, field
from typing import Any

import deq
from sweeps.archive.validation import Count, Finite, StrictBool, StrictInt, StrictStr

FORMAT = 1
MANIFEST, SWEEP, README, CITE = "manifest.json", "sweep.json", "README.txt", "CITE.txt"
CONFIG, RESULT = "config.json", "result.json"
ENVIRONMENT, TRAJECTORY = "environment.json", "trajectory.parquet"
REPORT = "report/"


@dataclass(frozen=True)
class FileInfo:
    """SHA-256 and size of one file of an archive."""

    sha256: StrictStr
    bytes: StrictInt


@dataclass(frozen=True)
class Manifest:
    """Schema of manifest.json.

    Attributes:
        format: version of the archive format; see FORMAT.
        written_by: name and version of the tool.
        sweep: name of the sweep.
        files: every file of the archive except the manifest.
    """

    format: StrictInt
    written_by: StrictStr
    sweep: StrictStr
    files: dict[StrictStr, FileInfo]


@dataclass(frozen=True)
class ArchivedTrial:
    """A planned trial; see `sweeps.planning.plan.PlannedTrial`."""

    config_hash: StrictStr
    cell_hash: StrictStr
    name: StrictStr
    varying: dict[StrictStr, StrictBool | StrictInt | Finite | StrictStr | None]
    plain: dict[StrictStr, Any]
    bytes: StrictInt
    pack: Count


@dataclass(frozen=True)
class ArchivedFailure:
    """Reason why a trial has no result; `final` if another attempt would fail as well."""

    error: StrictStr
    final: StrictBool


@dataclass(frozen=True)
class ArchivedSweep:
    """Schema of sweep.json: a sweep without its results.

    Attributes:
        sweep: name of the sweep: the hash of its trials, or of the search that makes them.
        study: name of the study.
        command: the command that launched it.
        figure: name of the first figure of its report.
        started: launch time, milliseconds since the epoch.
        axes: values of every key that varies, in the order of the plan.
        launch: launch config without cluster, tracking, checkpoint, record and paths.
        cells: for an adaptive search, the points of its grid axes; else empty.
        trials: all trials in the order of the plan.
        reused: config hashes of the trials that were finished before the launch.
        failures: failures by config hash, for trials without a result.
        sources: texts of the user's own config files, by file name.
    """

    sweep: StrictStr
    study: StrictStr
    command: StrictStr
    figure: StrictStr
    started: StrictInt
    axes: dict[StrictStr, list[Any]]
    launch: dict[StrictStr, Any]
    cells: list[ArchivedTrial]
    trials: list[ArchivedTrial]
    reused: list[StrictStr]
    failures: dict[StrictStr, ArchivedFailure]
    sources: dict[StrictStr, StrictStr] = field(default_factory=dict)


@dataclass(frozen=True)
class ArchivedResult:
    """Schema of a trial's result.json; see `sweeps.storage.record.Record`."""

    config_hash: StrictStr
    cell_hash: StrictStr
    status: deq.Status
    reason: StrictStr
    summary: dict[StrictStr, StrictInt | Finite]
    notes: dict[StrictStr, StrictStr]
    device: StrictStr
    started: StrictInt
    finished: StrictInt


@dataclass(frozen=True)
class ArchivedEnvironment:
    """Required keys of a trial's environment.json, which may hold more."""

    python: StrictStr
    packages: dict[StrictStr, StrictStr]
    threads: Count
    code: dict[StrictStr, StrictStr]


ABOUT = """\
A sweep over how deep equilibrium models train, exported by deq-sweeps ({version}).

Sweep {sweep} of the study "{study}": {finished} of {total} trials have a result.

Everything here is JSON, Parquet, PNG, HTML or text, so other tools can read it:

  import json, pathlib, pandas
  result = json.loads(pathlib.Path("trials/HASH/result.json").read_text())
  steps = pandas.read_parquet("trials/HASH/trajectory.parquet")

manifest.json    SHA-256 and size of every file; version of this format (`format`: {format})
sweep.json       command, study, axes of the search space, all trials (`plain` is a trial's
                 config), errors of the trials without a result, and the user's own config
                 files (`sources`)
trials/HASH/     one trial; HASH is the SHA-256 of its config in canonical form
  config.json         the resolved config: everything that determines the numbers
  result.json         how it ended (`status`, `reason`) and its summary metrics; `notes` says
                      why a metric is absent; `started`, `finished`: milliseconds since 1970, UTC
  trajectory.parquet  one row per GD step; null where a quantity was not measured
  environment.json    Python, packages, hardware, threads; git commit and uncommitted changes
report/          report.html (open it in a browser), its figures, trials.csv (one line per
                 trial), search.yaml (settings of a search that is not a grid)
CITE.txt         versions, commit, hardware and command, for a paper's supplement; BibTeX

Rates are -(d/dt) log loss, in nats per GD step. The documentation of deq-sweeps explains the
metric names. `sweeps import FILE` imports this file into another output root. The code in
environment.json runs only with `sweeps reproduce --at`.
"""
