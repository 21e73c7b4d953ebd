"""Train a trial with the code of another checkout; a script, run by its path.

    PYTHONPATH=CHECKOUT python -P rerun.py FOLDER

What it imports is then that checkout's: only what has been there since a trial first had a
record. Without FOLDER/trial.json it writes down the environment and trains nothing.
"""

import json
import sys
from pathlib import Path

import deq

try:
    from sweeps.execution.environment import environment
    from sweeps.execution.events import Done, Failed
    from sweeps.execution.worker import run_pack
except ImportError:  # a checkout from before these modules were in a folder
    from sweeps.environment import environment  # type: ignore[no-redef]
    from sweeps.messages import Done, Failed  # type: ignore[no-redef]
    from sweeps.trial import run_pack  # type: ignore[no-redef]

TRIAL, HEAD, TRAJECTORY = "trial.json", "head.json", "trajectory.parquet"
ENVIRONMENT, FAILURE = "environment.json", "failure.txt"


def main(folder: Path) -> None:
    """Do what the folder asks for; the answer lies in it."""
    sys.path.append(str(Path.cwd()))  # for a user's own activation, as `sweeps` has it
    if not (folder / TRIAL).exists():
        (folder / ENVIRONMENT).write_text(json.dumps(environment()))
        return
    asked = json.loads((folder / TRIAL).read_text())
    if asked["device"].startswith("cuda") and not deq.hardware()["gpu"]:
        (folder / FAILURE).write_text("it was trained on a GPU, and here is none")
        return
    for message in run_pack([asked["config"]], asked["device"], asked["threads"]):
        if isinstance(message, Failed):
            (folder / FAILURE).write_text(message.error)
        if isinstance(message, Done):
            (folder / TRAJECTORY).write_bytes(message.record.parquet())
            (folder / ENVIRONMENT).write_text(message.record.environment_json())
            (folder / HEAD).write_text(message.record.head())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
