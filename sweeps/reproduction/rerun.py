"""Script that trains a trial with the code of another checkout.

    PYTHONPATH=CHECKOUT python -P rerun.py FOLDER

It imports the checkout's modules, so it uses only names that every recorded commit has.
Without FOLDER/trial.json it writes the environment and trains nothing.
"""

import json
import sys
from pathlib import Path

import deq

try:
    from sweeps.execution.environment import environment
    from sweeps.execution.events import Done, Failed
    from sweeps.execution.worker import run_pack
except ImportError:  # an older checkout, without the folder execution/
    from sweeps.environment import environment  # type: ignore[no-redef]
    from sweeps.messages import Done, Failed  # type: ignore[no-redef]
    from sweeps.trial import run_pack  # type: ignore[no-redef]

TRIAL, HEAD, TRAJECTORY = "trial.json", "head.json", "trajectory.parquet"
ENVIRONMENT, FAILURE = "environment.json", "failure.txt"


def main(folder: Path) -> None:
    """Train the trial described in the folder, and write the result there."""
    sys.path.append(str(Path.cwd()))  # for a user's own activation, as the command line does
    if not (folder / TRIAL).exists():
        (folder / ENVIRONMENT).write_text(json.dumps(environment()))
        return
    trial = json.loads((folder / TRIAL).read_text())
    if trial["device"].startswith("cuda") and not deq.hardware()["gpu"]:
        (folder / FAILURE).write_text("it was trained on a GPU, and this machine has none")
        return
    for message in run_pack([trial["config"]], trial["device"], trial["threads"]):
        if isinstance(message, Failed):
            (folder / FAILURE).write_text(message.error)
        if isinstance(message, Done):
            (folder / TRAJECTORY).write_bytes(message.record.parquet())
            (folder / ENVIRONMENT).write_text(message.record.environment_json())
            (folder / HEAD).write_text(message.record.head())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
