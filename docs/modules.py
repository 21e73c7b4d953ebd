"""Write docs/modules.md, the modules of each folder, from the first lines of their docstrings."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = Path(__file__).parent / "modules.md"
HEAD = """# Modules

Written by `make reference` from the modules' docstrings. [Architecture](architecture.md) says what
each folder is for, and which may import which.
"""


def page() -> str:
    """Return the text of docs/modules.md."""
    parts = [HEAD]
    for package in ("sweeps", "deq"):
        for init in [ROOT / package / "__init__.py", *_inits(ROOT / package)]:
            rows = [f"| `{path.name}` | {_first_line(path)} |" for path in _modules(init.parent)]
            parts += [f"## {init.parent.relative_to(ROOT)}/", _first_line(init)]
            parts += ["\n".join(["| module | what it does |", "| --- | --- |", *rows])]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _inits(package: Path) -> list[Path]:
    """Return the `__init__.py` of each folder below a package."""
    return sorted(package.rglob("*/__init__.py"))


def _modules(folder: Path) -> list[Path]:
    """Return the modules of a folder."""
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith("__"))


def _first_line(path: Path) -> str:
    """Return the first line of a module's docstring, as a cell of a table."""
    line = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
    return line.replace("|", "\\|").replace("*", "\\*")
