"""Small files that a reader sees whole or not at all."""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, fields: Mapping[str, Any]) -> None:
    """Write the fields as JSON; see `write_text`."""
    write_text(path, json.dumps(fields))


def write_text(path: Path, text: str) -> None:
    """Write a text beside `path`, then rename; several processes may write at once.

    Raises:
        OSError: the folder is missing or cannot be written to; `path` is as it was.
    """
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
