"""What lies where in an archive, how large it may be, and its own description."""

import re
from dataclasses import dataclass, field
from typing import Any

from sweeps.archive.validation import Number, Text, Truth, Whole

FORMAT = 1
MANIFEST, SWEEP, README, CITE = "manifest.json", "sweep.json", "README.txt", "CITE.txt"
CONFIG, RESULT = "config.json", "result.json"
ENVIRONMENT, TRAJECTORY = "environment.json", "trajectory.parquet"
PARTS = (CONFIG, RESULT, ENVIRONMENT, TRAJECTORY)
REPORT = "report/"
# Every name an archive may hold; no other is read.
NAME = re.compile(
    rf"{'|'.join(map(re.escape, (MANIFEST, SWEEP, README, CITE)))}"
    rf"|trials/[0-9a-f]{{64}}/({'|'.join(map(re.escape, PARTS))})"
    rf"|{REPORT}[A-Za-z0-9_-]+\.(html|png|csv|yaml)"
)
# More than any sweep needs, and little enough to be read.
MOST_MEMBERS = 400_100
MOST_BYTES = 2**28
MOST_TOTAL = 2**32
MOST_RATIO = 200  # of a member's bytes to those it takes in the file, above RATIO_FROM
RATIO_FROM = 2**20


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    sha256: Text
    bytes: Whole


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself.

    Attributes:
        format: which description of archives it follows; FORMAT here.
        written_by: name and version of the tool.
        sweep: the sweep's name.
        files: every file but the manifest.
    """

    format: Whole
    written_by: Text
    sweep: Text
    files: dict[Text, Member]


@dataclass(frozen=True)
class TrialSheet:
    """A trial as a sweep plans it; see `sweeps.planning.plan.PlannedTrial`."""

    config_hash: Text
    cell_hash: Text
    name: Text
    varying: dict[Text, Truth | Whole | Number | Text | None]
    plain: dict[Text, Any]
    bytes: Whole
    pack: Whole


@dataclass(frozen=True)
class FailureSheet:
    """Why a trial has no result, and whether trying again is of no use."""

    error: Text
    final: Truth


@dataclass(frozen=True)
class SweepSheet:
    """A sweep without its results.

    Attributes:
        sweep, study: its names; `sweep` is the hash of its trials, or of what they follow from.
        command: what launched it.
        figure: what its report draws first.
        started: when it was launched, milliseconds since the epoch.
        axes: the values of every key that varies, as they came.
        launch: how it was launched, but for cluster, tracking, checkpoint, record and paths.
        cells: of a search that learns as it goes, what it searches.
        trials: all of them, in the order of the axes.
        reused: hashes of those that were finished before.
        failures: of those without a result, by hash.
        sources: texts of the user's config files that it was composed from, by name.
    """

    sweep: Text
    study: Text
    command: Text
    figure: Text
    started: Whole
    axes: dict[Text, list[Any]]
    launch: dict[Text, Any]
    cells: list[TrialSheet]
    trials: list[TrialSheet]
    reused: list[Text]
    failures: dict[Text, FailureSheet]
    sources: dict[Text, Text] = field(default_factory=dict)


@dataclass(frozen=True)
class ResultSheet:
    """What came of a trial; see `sweeps.storage.record.Record`."""

    config_hash: Text
    cell_hash: Text
    status: Text
    reason: Text
    summary: dict[Text, Whole | Number]
    notes: dict[Text, Text]
    device: Text
    started: Whole
    finished: Whole


@dataclass(frozen=True)
class EnvironmentSheet:
    """What is relied on of an environment, which may hold more."""

    python: Text
    packages: dict[Text, Text]
    threads: Whole
    code: dict[Text, Text]


ABOUT = """\
A sweep over how deep equilibrium models train, exported by deq-sweeps ({version}).

Sweep {sweep} of the study "{study}": {finished} of {total} trials have a result.

Everything here is JSON, Parquet, PNG, HTML or text; nothing needs deq-sweeps to be read:

  import json, pathlib, pandas
  result = json.loads(pathlib.Path("trials/HASH/result.json").read_text())
  steps = pandas.read_parquet("trials/HASH/trajectory.parquet")

manifest.json    SHA-256 and size of every file; `format`: {format} is what this text describes
sweep.json       the command, the study, the axes of the search space, all trials (`plain`
                 is a trial's config), why those failed that have no result, and the user's
                 own config files that it was composed from (`sources`)
trials/HASH/     one trial; HASH is the SHA-256 of its config in canonical form
  config.json         the resolved config: all that decides the numbers
  result.json         how it ended (`status`, `reason`) and its summary metrics; `notes` says
                      why one is absent; `started`, `finished`: milliseconds since 1970, UTC
  trajectory.parquet  a row for each GD step; null where a quantity was not measured
  environment.json    Python, packages, hardware, threads; git commit and uncommitted changes
report/          report.html (open it in a browser), its figures, trials.csv: a line a trial,
                 search.yaml: how it was searched, where it was no grid
CITE.txt         versions, commit, hardware and the command, for a paper's supplement; BibTeX

Rates are -(d/dt) log loss, in nats per GD step. The metrics' names are explained in the README
of deq-sweeps. `sweeps import FILE` takes this file into another output root; the code that
environment.json holds is run only by `sweeps reproduce --at`.
"""
