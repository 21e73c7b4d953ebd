"""Text for a paper's supplement: versions, commit, hardware and the command of a sweep."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweeps.config.launch import LaunchConfig
from sweeps.driver.trial_states import single_sweep
from sweeps.storage.ledger import SweepEntry, reading
from sweeps.storage.output_root import ledger_path, require_record

# The papers whose predictions every trial is compared with.
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
    """Device, times and environment of a trained trial; see `sweeps.storage.record.Record`."""

    device: str
    started: int
    finished: int
    environment: dict[str, Any]


def of_sweep(config: LaunchConfig, prefix: str) -> str:
    """The text for a sweep of the output root.

    Args:
        config: launch config with the output root.
        prefix: first digits of the sweep's name.

    Raises:
        ConfigError: the prefix names no sweep or several.
    """
    require_record(Path(config.paths.output))
    with reading(ledger_path(config)) as ledger:
        entry = single_sweep(ledger.sweeps_like(prefix), prefix)
        stored = [ledger.provenance(trial["config_hash"]) for trial in entry.spec["trials"]]
    provenance = [
        Provenance(head["device"], head["started"], head["finished"], environment)
        for head, environment in filter(None, stored)
    ]
    return cite(entry, provenance)


def cite(entry: SweepEntry, provenance: Iterable[Provenance]) -> str:
    """The text for a sweep.

    Args:
        entry: the sweep.
        provenance: one for each finished trial; equal environments are described once.
    """
    counts: Counter[str] = Counter()
    examples: dict[str, Provenance] = {}
    first, last = math.inf, -math.inf
    for each in provenance:
        environment = {key: v for key, v in each.environment.items() if key != "resumed_at"}
        key = json.dumps([each.device, environment], sort_keys=True)
        counts[key] += 1
        examples.setdefault(key, each)
        first, last = min(first, each.started), max(last, each.finished)
    total = len(entry.spec["trials"])
    head = f'Sweep {entry.sweep} of the study "{entry.study}": {total} trials'
    if not counts:
        return f"{head}, none with a result.\n\n{BIBTEX}"
    parts = [
        f"{head}, {counts.total()} with a result,\n"
        f"trained from {_day(first)} to {_day(last)} (UTC) with deq-sweeps.",
        f"{_command(entry)}\n\n"
        f"The name {entry.sweep} is the hash of the trials' configurations, so it is the same\n"
        "on every machine (`sweeps run ... --dry-run` prints it).",
    ]
    for key, count in counts.most_common():
        about = "" if len(counts) == 1 else f"{count} of the {counts.total()} trials:\n"
        parts.append(about + _conditions(examples[key]))
    parts.append("The theory that its trials are compared with:\n\n" + BIBTEX)
    return "\n\n".join(parts)


def _command(entry: SweepEntry) -> str:
    """Say how to launch the sweep: from its record if it has config files of its own."""
    command, files = entry.spec["command"], entry.spec.get("sources", {})
    if not files:
        return f"To launch it again, with the code named below:\n\n    {command}"
    return (
        "To launch it again, with the code named below, where its record or its archive is:\n\n"
        f"    sweeps resume {entry.sweep}\n\n"
        f"It was launched by\n\n    {command}\n\n"
        f"with config files of its own, which the record holds: {', '.join(sorted(files))}."
    )


def _conditions(provenance: Provenance) -> str:
    """Software, code and hardware, one line each."""
    environment = provenance.environment
    packages = {name: v for name, v in environment.get("packages", {}).items() if v}
    software = [f"Python {environment.get('python', 'unknown')}"]
    software += [f"{name} {version}" for name, version in packages.items()]
    code = environment.get("code") or {}
    hardware = (
        f"{environment.get('platform', 'unknown')}; {environment.get('cpus', '?')} CPUs "
        f"({environment.get('cpu_capability', 'unknown')}), "
        f"threads a trial: {environment.get('threads', '?')}"
    )
    lines = [
        f"Software: {', '.join(software)}",
        f"Code: {_code(**{key: code.get(key, '') for key in ('commit', 'diff', 'error')})}",
        f"Hardware: {hardware}",
    ]
    gpu = environment.get("gpu") if provenance.device != "cpu" else ""
    lines.append(f"Trained on: {gpu or provenance.device}")
    return "\n".join(lines)


def _code(commit: str, diff: str, error: str) -> str:
    """The code's version in words; a diff is named by its SHA-256."""
    if error:
        return f"not recorded, since git failed ({error})"
    if not commit:
        return "not from a git checkout"
    if not diff:
        return f"git commit {commit}"
    digest = hashlib.sha256(diff.encode(errors="surrogateescape")).hexdigest()
    return f"git commit {commit} with uncommitted changes (SHA-256 of the diff: {digest})"


def _day(milliseconds: float) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d}"
