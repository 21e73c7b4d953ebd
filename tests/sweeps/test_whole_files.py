"""Small files that appear whole or not at all."""

import json
from pathlib import Path

import pytest

from sweeps.storage.whole_files import write_json, write_text


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat.json"
    write_json(path, {"time": 1.0})

    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\udcff")

    assert json.loads(path.read_text()) == {"time": 1.0}
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_replaces_the_fields(tmp_path: Path) -> None:
    path = tmp_path / "starting.json"
    write_json(path, {"sweep": "a", "tracker": "local"})

    write_json(path, {"sweep": "b"})

    assert json.loads(path.read_text()) == {"sweep": "b"}
