"""Disks and users that a test needs: a little disk, a read-only one, somebody else."""

import contextlib
import json
import os
import subprocess
import sys
import traceback

import pytest
from command import inside

NOBODY = 65534


@contextlib.contextmanager
def mounted(folder, *words):
    """A mount for a block; the test is skipped where none may be made."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", *words, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this needs a mount: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def little(folder, kilobytes):
    """A disk of that size."""
    return mounted(folder, "-t", "tmpfs", "-o", f"size={kilobytes}k", "none")


def read_only(source, folder):
    """A folder as it looks on a disk that cannot be written."""
    return mounted(folder, "-o", "bind,ro", str(source))


def enlarged(folder, kilobytes):
    """Give a little disk more room."""
    words = ["mount", "-o", f"remount,size={kilobytes}k", str(folder)]
    subprocess.run(words, check=True)


def other_users():
    """Skip the test where no other user can be had, or none can read this environment."""
    if os.geteuid():
        pytest.skip("only root may become another user")
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    done = subprocess.run(
        [*words, "cat", pytest.__file__, __file__], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("another user cannot read the environment that the tests run in")


def as_nobody(*words, cwd, **env):
    """A command in a fork of this process that is another user: returncode, stdout, stderr."""
    other_users()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            done = inside(*words, cwd=cwd, **env)
            result = [done.returncode, done.stdout, done.stderr]
        except BaseException:
            result = [99, "", traceback.format_exc()]
        with os.fdopen(writing, "w") as file:
            json.dump(result, file)
        sys.stdout = sys.stderr = None
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        result = json.load(file)
    os.waitpid(child, 0)
    return subprocess.CompletedProcess(words, *result)
