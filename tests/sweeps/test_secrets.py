"""Secrets planted wherever a sweep could meet one, and then looked for in all it wrote."""

import base64
import json
import secrets
import shutil
import sqlite3
import subprocess
import threading
import time
import urllib.parse
import zlib

import pytest
from command import ROOT, SMALL, inside, sweeps, unused_port
from services import AUTH, PASSWORD, USERNAME

from sweeps.redaction import without_secrets

pytestmark = pytest.mark.services

OTHERS = {
    "AWS_ACCESS_KEY_ID": f"AKIA{secrets.token_hex(8).upper()}",
    "AWS_SECRET_ACCESS_KEY": f"{secrets.token_hex(8)}/+{secrets.token_hex(8)}",
    "AWS_SESSION_TOKEN": secrets.token_urlsafe(40),
    "POSTGRES_PASSWORD": f"p@ss/w:rd {secrets.token_hex(8)}",
    "PGPASSWORD": f"{secrets.token_hex(8)}#?",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "GIT_REMOTE_PASSWORD": secrets.token_hex(12),
}
WRONG = f"wrong {secrets.token_hex(8)}"
SAYS = """import os

import torch

import deq

SAID = " and ".join([*(os.environ[name] for name in {names}), "{uri}"])


def sin(x):
    if x.dim() == 3 and 16 in x.shape:  # training, at width 16
        raise RuntimeError("cannot train: " + SAID)
    return x.sin()


wave = deq.Activation("wave", sin, torch.cos, 1.0, 1.0, 0.0, True)
"""
IMPORT = 'import os\n\nraise ImportError(" and ".join(os.environ[name] for name in {names}))\n'


def needles():
    """Each secret in all the ways it may have been written."""
    names = {}
    for name, value in (OTHERS | {"PASSWORD": PASSWORD, "WRONG": WRONG}).items():
        ways = {value, urllib.parse.quote(value), urllib.parse.quote(value, "")}
        ways |= {json.dumps(value)[1:-1], repr(value)[1:-1]}
        names |= {way.encode(): name for way in ways}
    for password in (PASSWORD, WRONG):
        names[base64.b64encode(f"{USERNAME}:{password}".encode())] = "the header"
    return names


NEEDLES = needles()


def secrets_in(content):
    """Names of the secrets in some bytes."""
    return {name for needle, name in NEEDLES.items() if needle in content}


def written(path):
    """All that a file says: its bytes, and what a database of it holds compressed."""
    content = path.read_bytes()
    yield content
    if content.startswith(b"SQLite format 3"):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            names = [row[0] for row in db.execute("SELECT name FROM sqlite_master")]
            tables = [name for name in names if not name.startswith("sqlite_")]
            for table in tables:
                try:
                    rows = db.execute(f'SELECT * FROM "{table}"').fetchall()  # noqa: S608
                except sqlite3.OperationalError:  # an index
                    continue
                for value in (value for row in rows for value in row if isinstance(value, bytes)):
                    if value[:1] == b"\x78":
                        yield zlib.decompress(value)
        db.close()


def leaks(*roots, read=None):
    """Every secret that stands in a file below, and where.

    Args:
        read: holds the files that were read before; one that has not changed is left out.
    """
    leaked, read = set(), {} if read is None else read
    for path in (p for root in roots for p in root.rglob("*") if p.is_file()):
        try:
            stat = path.stat()
            state = stat.st_mtime_ns, stat.st_size
            if read.get(path) == state:
                continue
            read[path] = state
            for content in written(path):
                leaked |= {(name, path.name) for name in secrets_in(content)}
        except FileNotFoundError:  # gone meanwhile
            continue
    return leaked


@pytest.fixture
def repo(tmp_path):
    """This code in a checkout whose uncommitted changes and whose remote hold a secret."""
    place = tmp_path / "repo"
    for name in ("deq", "sweeps", "conf"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    password = OTHERS["GIT_REMOTE_PASSWORD"]
    remote = f"https://me:{password}@example.org/deq.git"
    who = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    for words in (
        ["init", "--quiet"],
        ["remote", "add", "origin", remote],
        ["add", "--all"],
        [*who, "commit", "--quiet", "--message", "A"],
    ):
        subprocess.run(["git", "-C", place, *words], check=True, capture_output=True)
    lines = [f"{name} = {value!r}" for name, value in OTHERS.items()]
    with (place / "sweeps" / "errors.py").open("a") as file:
        file.write("\n".join(["", *lines, f"URI = {remote!r}", ""]))
    return place


def test_no_secret_is_written_or_printed(server, tmp_path, repo, short, monkeypatch):
    login = f"{USERNAME}:{urllib.parse.quote(PASSWORD)}@"
    uri = server.uri.replace("http://", f"http://{login}")
    where = tmp_path / "work"
    where.mkdir()
    names = repr([*OTHERS, "MLFLOW_TRACKING_PASSWORD"])
    (where / "says.py").write_text(SAYS.replace("{uri}", uri).replace("{names}", names))
    (where / "broken.py").write_text(IMPORT.replace("{names}", names))
    env = OTHERS | AUTH | {"PYTHONPATH": f"{repo}:{where}", "TMPDIR": str(short)}
    to = ["tracking=server", f"tracking.uri={uri}"]
    output, stop, meanwhile = where / "outputs", threading.Event(), set()
    monkeypatch.syspath_prepend(str(where))

    def look():
        read = {}
        while not stop.wait(0.5):
            meanwhile.update(leaks(output, short, read=read))

    looking = threading.Thread(target=look)
    looking.start()
    words = ["run", *SMALL, *to, "model.activation=says:wave,tanh", "study=secrets", "--json"]
    words.append("cluster.cpus_per_trial=2")
    done = [sweeps(*words, cwd=where, **env)]
    stop.set()
    looking.join()
    assert done[0].returncode == 1, done[0].stderr
    assert done[0].stdout, done[0].stderr
    result = json.loads(done[0].stdout)
    assert "cannot train: " in result["trials"][0]["error"]
    digest, here = result["trials"][1]["config_hash"], {"cwd": where, **env}
    closed = f"tracking.uri=http://{login}127.0.0.1:{unused_port()}"
    for code, *asked in (
        (0, "status", *to),
        (0, "status", "--json"),
        (0, "report", result["sweep"], *to),
        (0, "sync", *to),
        (0, "doctor", *to),
        (1, "doctor", "tracking=server", closed),
        (0, "reproduce", digest, "--allow-drift", *to),
        (2, "run", "tracking=server", closed),
        (2, "run", *to, f"tracking.uri=http://{login}nowhere:x y"),
        (2, "run", "model.activation=broken:phi"),
        (2, "run", *to, "cluster=ray", f"cluster.address=127.0.0.1:{unused_port()}"),
    ):
        done.append(inside(*asked, **here))
        assert done[-1].returncode == code, done[-1].stderr
    plain = f"tracking.uri={server.uri}"
    wrong = {**here, "MLFLOW_TRACKING_PASSWORD": WRONG}
    done.append(inside("run", "tracking=server", plain, **wrong))
    assert done[-1].returncode == 2
    assert "MLFLOW_TRACKING_PASSWORD" in done[-1].stderr
    assert len(list(output.rglob("*"))) > 3
    assert not meanwhile
    assert not leaks(output, server.folder)
    for command in done:
        assert not secrets_in((command.stdout + command.stderr).encode()), command.args


def test_secrets_are_masked_and_other_texts_are_not(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "abcdef/ghi")
    monkeypatch.setenv("TOKEN_PATH", "/home/me/token")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "parallel")
    monkeypatch.setenv("SHORT_SECRET", "yes")
    monkeypatch.setenv("DATABASE", "postgresql://me:hunter2x@host/db")
    text = "abcdef/ghi abcdef%2Fghi /home/me/token parallel yes hunter2x http://a:b@c/d e@f"
    expected = "*** *** /home/me/token parallel yes *** http://c/d e@f"
    assert without_secrets(text) == expected
    assert without_secrets("http://a:b/c@d@host:1/x 'http://e:f@g'") == "http://host:1/x 'http://g'"
    begun = time.monotonic()
    without_secrets("a" * 1_000_000)
    assert time.monotonic() - begun < 2
