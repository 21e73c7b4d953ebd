"""Archives that anybody can write: names, sizes, checksums, damaged files, odd JSON."""

import hashlib
import json
import zipfile

import pytest

from sweeps.archive import layout
from sweeps.archive.reader import open_archive
from sweeps.archive.validation import json_object
from sweeps.errors import ConfigError

REPORT = "report/report.html"
RESULT = f"trials/{'a' * 64}/result.json"
FILES = {layout.SWEEP: b"{}", REPORT: b"<p>", RESULT: b"{}"}


def archive(path, extra=(), **change):
    """Write an archive of FILES; `extra` files are not in its manifest."""
    listed = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in FILES.items()
    }
    manifest = {"format": layout.FORMAT, "written_by": "a test", "sweep": "ab", "files": listed}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {**FILES, **dict(extra)}.items():
            file.writestr(name, content)
        file.writestr(layout.MANIFEST, json.dumps(manifest | change))
    return path


def test_files_are_compared_with_the_manifest(tmp_path):
    with open_archive(archive(tmp_path / "a.zip")) as reader:
        reader.check_other_files()
        assert reader.read(REPORT) == b"<p>"
        assert reader.trial_hashes() == ["a" * 64]
        with pytest.raises(ConfigError, match=r"the archive has no CITE\.txt"):
            reader.read(layout.CITE)
    wrong = {name: {"sha256": "0" * 64, "bytes": 2} for name in FILES}
    with open_archive(archive(tmp_path / "b.zip", files=wrong)) as it:
        for read in (it.check_other_files, lambda: it.read(RESULT)):
            with pytest.raises(ConfigError, match=r"\.json differs from the manifest"):
                read()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": 99}, "its format is 99, and this version reads 1$"),
        ({"files": {}}, "its manifest and its files differ: "),
        ({"sweep": 3}, r"manifest\.json: 'sweep': it should be text"),
        ({"extra": {layout.README: b"x"}}, r"its manifest and its files differ: 'README\.txt'"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(change, match, tmp_path):
    path = archive(tmp_path / "a.zip", **change)
    with pytest.raises(ConfigError, match=match) as error, open_archive(path):
        pass
    assert str(error.value).startswith(f"{path}: ")


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "text").write_text("text")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr(layout.README, "x")
    for name, match in (
        ("text", "cannot be read as an archive: File is not a zip file"),
        ("absent", "cannot be read as an archive: No such file"),
        ("other.zip", r"it has no manifest\.json: `sweeps export` did not write it"),
    ):
        with pytest.raises(ConfigError, match=match), open_archive(tmp_path / name):
            pass


def test_a_damaged_file_is_named(tmp_path):
    path = archive(tmp_path / "a.zip")
    path.write_bytes(path.read_bytes().replace(b"<p>", b"<q>"))
    with (
        open_archive(path) as reader,
        pytest.raises(ConfigError, match=r"report\.html cannot be read: Bad CRC"),
    ):
        reader.read(REPORT)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"{", r"x\.json is not valid JSON"),
        (b'{"a": NaN}', r"x\.json is not valid JSON"),
        (b"[" * 100_000, r"x\.json is not valid JSON"),
        (b"[]", r"x\.json is not a JSON object"),
    ],
)
def test_json_that_is_no_object_of_finite_numbers_is_refused(text, match):
    with pytest.raises(ConfigError, match=match):
        json_object("x.json", text)
