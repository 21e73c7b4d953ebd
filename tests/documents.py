"""Documentation pages parsed into steps: commands, code and files."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Pages whose commands are run, and all that are written by hand.
PAGES = [ROOT / "docs" / "tutorial.md", *sorted((ROOT / "docs" / "how-to").glob("*.md"))]
WRITTEN = sorted({*PAGES, *(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / "reference.md"})
_BLOCK = re.compile(r'^```(\w+)(?: title="(\S+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One step that a page asks for.

    Attributes:
        kind: command; code, to be run; file, to be written.
        text: it.
        path: of a file.
    """

    kind: str
    text: str
    path: str = ""


def steps(text):
    """Steps of a page in order; ```text blocks are output and are skipped."""
    result = []
    for language, path, body in _BLOCK.findall(text):
        if path:
            result.append(Step("file", body, path))
        elif language == "python":
            result.append(Step("code", body))
        elif language == "sh":
            result += [Step("command", line) for line in body.replace("\\\n", "").splitlines()]
        else:
            assert language == "text", f"a block of {language!r}: it is not run"
    return result


def links(text):
    """Files that a page links to, less the parts within them."""
    return sorted(set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)))
