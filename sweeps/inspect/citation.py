"""What a paper's supplement says of a sweep: versions, commit, hardware, how to launch it again."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweeps.config.request import LaunchConfig
from sweeps.driver.trial_states import only
from sweeps.storage.ledger import SweepEntry, reading
from sweeps.storage.output_root import ledger_path, require_record

# The theory that every trial is compared with.
BIBTEX = """\
@inproceedings{ling2023global,
  title     = {Global Convergence of Over-parameterized Deep Equilibrium Models},
  author    = {Ling, Zenan and Xie, Xingyu and Wang, Qiuhao and Zhang, Zongpeng and Lin, Zhouchen},
  booktitle = {Proceedings of the 26th International Conference on Artificial Intelligence
               and Statistics},
  series    = {Proceedings of Machine Learning Research},
  volume    = {206},
  pages     = {767--787},
  year      = {2023}
}

@misc{truong2023global,
  title         = {Global Convergence Rate of Deep Equilibrium Models with General Activations},
  author        = {Truong, L. V.},
  eprint        = {2302.05797},
  archiveprefix = {arXiv},
  year          = {2023}
}
"""


@dataclass(frozen=True)
class Provenance:
    """When, where and with what a trial was made; see `sweeps.storage.record.Record`."""

    device: str
    started: int
    finished: int
    environment: dict[str, Any]


def of_sweep(config: LaunchConfig, prefix: str) -> str:
    """The text for a sweep of the output root.

    Raises:
        ConfigError: no sweep, or more than one, begins so.
    """
    require_record(Path(config.paths.output))
    with reading(ledger_path(config)) as ledger:
        entry = only(ledger.sweeps_like(prefix), prefix)
        found = [ledger.provenance(trial["config_hash"]) for trial in entry.spec["trials"]]
    made = [
        Provenance(head["device"], head["started"], head["finished"], environment)
        for head, environment in filter(None, found)
    ]
    return cite(entry, made)


def cite(entry: SweepEntry, made: Iterable[Provenance]) -> str:
    """The text for a sweep, from what its finished trials were made with."""
    counts: Counter[str] = Counter()
    examples: dict[str, Provenance] = {}
    first, last = math.inf, -math.inf
    for one in made:
        rest = {key: v for key, v in one.environment.items() if key != "resumed_at"}
        key = json.dumps([one.device, rest], sort_keys=True)
        counts[key] += 1
        examples.setdefault(key, one)
        first, last = min(first, one.started), max(last, one.finished)
    total = len(entry.spec["trials"])
    head = f'Sweep {entry.sweep} of the study "{entry.study}": {total} trials'
    if not counts:
        return f"{head}, none with a result.\n\n{BIBTEX}"
    parts = [
        f"{head}, {counts.total()} with a result,\n"
        f"trained from {_day(first)} to {_day(last)} (UTC) with deq-sweeps.",
        f"To launch it again, from the code named below:\n\n    {entry.spec['command']}\n\n"
        f"The name {entry.sweep} is the hash of the set of the trials' configurations: the same\n"
        "wherever they are launched (`sweeps run ... --dry-run` prints it).",
    ]
    for key, count in counts.most_common():
        about = "" if len(counts) == 1 else f"{count} of the {counts.total()} trials:\n"
        parts.append(about + _conditions(examples[key]))
    parts.append("The theory its trials are compared with:\n\n" + BIBTEX)
    return "\n\n".join(parts)


def _conditions(made: Provenance) -> str:
    """Software, code and hardware, a line each."""
    found = made.environment
    packages = {k: v for k, v in found.get("packages", {}).items() if v}
    software = [f"Python {found.get('python', 'unknown')}"]
    software += [f"{name} {version}" for name, version in packages.items()]
    code = found.get("code") or {}
    lines = [
        f"Software: {', '.join(software)}",
        f"Code: {_code(**{key: code.get(key, '') for key in ('commit', 'diff', 'error')})}",
        f"Hardware: {found.get('platform', 'unknown')}; {found.get('cpus', '?')} CPUs "
        f"({found.get('cpu_capability', 'unknown')}), threads a trial: {found.get('threads', '?')}",
    ]
    gpu = found.get("gpu") if made.device != "cpu" else ""
    lines.append(f"Trained on: {gpu or made.device}")
    return "\n".join(lines)


def _code(commit: str, diff: str, error: str) -> str:
    if error:
        return f"not recorded, since git refused ({error})"
    if not commit:
        return "not from a git checkout"
    if not diff:
        return f"git commit {commit}"
    digest = hashlib.sha256(diff.encode(errors="surrogateescape")).hexdigest()
    return f"git commit {commit} with uncommitted changes (SHA-256 of the diff: {digest})"


def _day(milliseconds: float) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d}"
