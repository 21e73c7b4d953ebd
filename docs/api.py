"""Write the API pages from the public names that `sweeps` and `deq` list in `__init__.pyi`.

mkdocstrings then reads signatures and docstrings from the source, without importing it.
"""

import ast
from pathlib import Path

PACKAGES = {
    "sweeps": "Sweeps: compose, launch, load",
    "deq": "The mathematics: models, training, theory",
}
ROOT = Path(__file__).parent.parent


def page(package: str) -> str:
    """Return the page of one package: each public name once, by the folder it comes from."""
    parts = [f"# `{package}`", f"{PACKAGES[package]}. `import {package}` gives each name below."]
    for part, names in public_names(package).items():
        parts += [f"## {part.replace('_', ' ').capitalize()}"]
        parts += [f"::: {package}.{name}" for name in names]
    return "\n\n".join(parts) + "\n"


def public_names(package: str) -> dict[str, list[str]]:
    """Return the names that `__init__.pyi` imports, by the first part of their module's path."""
    stub = ast.parse((ROOT / package / "__init__.pyi").read_text())
    by_part: dict[str, list[str]] = {}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names = by_part.setdefault(node.module.partition(".")[0], [])
            names += [alias.name for alias in node.names]
    return {part: sorted(names, key=str.lower) for part, names in by_part.items()}
