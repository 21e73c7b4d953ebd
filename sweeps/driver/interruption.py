"""Notes on trials that were interrupted: whether a checkpoint is kept, and where resume goes on."""

from pathlib import Path

from sweeps.driver.register import stops_early
from sweeps.storage.checkpoints import Checkpoints
from sweeps.storage.ledger import Ledger, SweepEntry
from sweeps.storage.output_root import folder_of


def checkpoint_steps(entry: SweepEntry, output: Path) -> dict[str, int]:
    """Return the GD step of each trial's newest checkpoint that resume would use, by config hash.

    Args:
        entry: the sweep.
        output: the output root.
    """
    stored = entry.spec.get("launch", {}).get("checkpoint", {})
    root = folder_of(output, entry.sweep) if stops_early(entry) else output
    return Checkpoints.under(root, stored.get("every_seconds", 60.0)).steps()


def resume_note(step: int | None) -> str:
    """Return where a trial goes on, given the GD step of its checkpoint; None: it has none."""
    if step is None:
        return "no checkpoint: resume begins at step 0"
    return f"checkpoint of step {step}: resume goes on from there"


class InterruptionNotes:
    """Descriptions of the runs in MLflow of trials that were interrupted."""

    def __init__(self, ledger: Ledger, tracker: str) -> None:
        """Describe trials of this ledger's sweeps that this MLflow records."""
        self._ledger, self._tracker = ledger, tracker
        self._steps: dict[str, dict[str, int]] = {}

    def __call__(self, sweep: str, config_hash: str) -> str:
        """Return the description of a trial's run; its sweep ended without sending a result."""
        if self._ledger.provenance(config_hash):
            return "It has ended. `sweeps sync` sends its result."
        if sweep not in self._steps:
            entries = self._ledger.sweeps_like(sweep, self._tracker)
            output = self._ledger.path.parent
            self._steps[sweep] = checkpoint_steps(entries[-1], output) if entries else {}
        note = resume_note(self._steps[sweep].get(config_hash))
        return f"Interrupted; {note}. To continue: `sweeps resume {sweep}`."
