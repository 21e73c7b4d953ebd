"""Write docs/reference.md, docs/modules.md and completion's words from the code: `make reference`.

A test fails while one of them differs from what the code says.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from docs import modules
from docs.keys import Key, config_keys
from sweeps import metrics
from sweeps.cli import cli
from sweeps.cli.complete_overrides import WORDS
from sweeps.config.config_files import conf_dir, groups
from sweeps.storage.step_metrics import DENSE
from sweeps.tracking import artifacts

# More names than these have a table of their own.
MOST_NAMES = 20
PAGE = Path(__file__).parent / "reference.md"
HEAD = """# Reference

Written from the code by `make reference`; edit the docstrings, not this file. `sweeps COMMAND
--help` says the same of a command, `sweeps show` prints the composed config.
"""
KEYS_HEAD = """A key is set by `KEY=VALUE`; several values, `KEY=A,B`, are an axis. Keys marked *
are part of a trial's identity: another value is another trial with another hash. Only these
may be an axis, and `data.path`, whose file's digest is part of it."""
STEP_HEAD = f"""One row for each GD step in `{artifacts.TRAJECTORY}`, empty where not measured.
Those with a metric are in MLflow too: the first {DENSE} values, then {DENSE // 2} of each doubling,
and the last. They arrive while the trial trains (`tracking.live_seconds`). Those with a * say
how the engine came to the others: two runs that differ in them alone are equal to
`sweeps reproduce`."""
MACHINE_HEAD = """Of trials that last `tracking.live_seconds` and longer, sampled that often on the
worker, under the names of MLflow's System metrics tab; I counts the GPUs that it was given."""
OTHER_HEAD = """Of a trial that was stopped early; of a sweep, beside means over seeds
(METRIC/CELL); of a reproduction."""
SUMMARY_HEAD = """One value for each finished trial. What does not exist for a trial is absent, and
the run's description says why. Flags are 1 and 0."""


def main() -> None:
    """Write all three files."""
    PAGE.write_text(page())
    modules.PAGE.write_text(modules.page())
    WORDS.write_text(words())


def page() -> str:
    """Return the text of docs/reference.md."""
    parts = [HEAD, "## Commands", *_commands(), "## Config groups", *_groups()]
    parts += ["## Config keys", KEYS_HEAD, *_keys(), *_recorded()]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def words() -> str:
    """Return what completion offers for keys, as JSON: values, choices of the group, meaning.

    Digests are filled in and typed by nobody.
    """
    entries: dict[str, dict[str, Any]] = {}
    for key in (key for key in config_keys() if not key.name.endswith("sha256")):
        entry = entries.setdefault(key.name, {"values": [], "choices": [], "meaning": ""})
        entry["values"] = list(dict.fromkeys([*entry["values"], *key.values]))
        entry["choices"] = [*entry["choices"], *key.choices]
        entry["meaning"] = entry["meaning"] or _first_sentence(key.meaning)
    return json.dumps(entries, indent=1) + "\n"


def _commands() -> Iterator[str]:
    for name, command in sorted(cli.commands.items()):
        context = click.Context(command, info_name=f"sweeps {name}")
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        yield f"### sweeps {name}\n\n    {usage}\n\n{_unwrapped(command.help or '')}"
        options = [p.get_help_record(context) for p in command.get_params(context)]
        rows = [(f"`{flag}`", text) for flag, text in filter(None, options) if text]
        yield _table(("option", "meaning"), [row for row in rows if "--help" not in row[0]])


def _groups() -> Iterator[str]:
    yield "A choice is made by `GROUP=CHOICE`; each is a file under `conf/`."
    yield (
        "Choices of your own lie in `conf/` in the current folder, or in the folder that "
        "`--config-dir` names: see [a project of your own](how-to/project.md)."
    )
    for group, choices in groups().items():
        rows = [(f"`{group}={choice}`", _comment(group, choice)) for choice in choices]
        yield f"### {group}\n\n" + _table(("choice", "meaning"), rows)


def _comment(group: str, choice: str) -> str:
    """Return the comment that a choice's file begins with, without the command that runs it."""
    lines = (conf_dir() / group / f"{choice}.yaml").read_text().splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    comment = [line.lstrip("# ") for line in lines[:end]]
    text = " ".join(line for line in comment if not line.startswith(("@package", "sweeps ")))
    return text.rstrip(":") + "." * text.endswith(":")


def _keys() -> Iterator[str]:
    parts: dict[str, list[Key]] = {}
    for key in config_keys():
        parts.setdefault(key.name.rpartition(".")[0], []).append(key)
    for part in sorted(parts, key=lambda name: name == ""):
        rows = [_key_row(key) for key in parts[part]]
        heading = f"### {part}" if part else "### Others"
        yield f"{heading}\n\n" + _table(("key", "type", "default", "meaning"), rows)


def _key_row(key: Key) -> tuple[str, ...]:
    where = f" ({', '.join(key.choices)})" if key.choices else ""
    mark = " *" if key.hashed else ""
    # A list of names that no type lists: an activation may be one's own.
    listed = key.type == "text" and 0 < len(key.values) <= MOST_NAMES
    names = f" One of {', '.join(key.values)}." if listed else ""
    return f"`{key.name}`{mark}{where}", key.type, f"`{key.default}`", key.meaning + names


def _column_row(column: metrics.Column) -> tuple[str, ...]:
    mark = " *" if column.work else ""
    return f"`{column.name}`{mark}", column.metric and f"`{column.metric}`", column.meaning


def _recorded() -> Iterator[str]:
    yield "## Steps\n\n" + STEP_HEAD
    yield _table(
        ("column", "metric", "meaning"),
        [_column_row(column) for column in metrics.COLUMNS],
    )
    yield "## Summary metrics\n\n" + SUMMARY_HEAD
    yield _metrics(metrics.SUMMARY)
    yield "## Curves\n\nStep metrics that a trial's page begins with."
    yield _metrics(metrics.CURVES)
    yield f"## Use of the machine\n\n{MACHINE_HEAD}"
    yield _metrics(metrics.MACHINE)
    yield f"## Other metrics\n\n{OTHER_HEAD}"
    yield _metrics([*metrics.STOPPED, *metrics.SWEEP, *metrics.REPRODUCTION])
    yield "## Tags\n\nBeside MLflow's own: user, source, git commit, parent run, run name."
    tags = artifacts.TAGS | artifacts.OTHER_TAGS
    yield _table(("tag", "meaning"), [(f"`{tag}`", text) for tag, text in tags.items()])
    yield "## Params and artifacts\n\nParams are the trial's config, keys as above."
    files = [(f"`{name}`", text) for name, text in artifacts.ARTIFACTS.items()]
    yield _table(("artifact", "meaning"), files)


def _metrics(listed: Iterable[metrics.Metric]) -> str:
    rows = [(f"`{m.name}`", m.meaning, m.unit) for m in listed]
    return _table(("metric", "meaning", "unit"), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; an empty text without rows."""
    if not rows:
        return ""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    """Escape a text for a table's cell, where a bar or a star would be read as Markdown."""
    escaped = text.replace("|", "\\|")
    return escaped if "`" in escaped else escaped.replace("*", "\\*")


def _unwrapped(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[^.])\.(?:\s|$)|; ", text)[0]


if __name__ == "__main__":
    main()
