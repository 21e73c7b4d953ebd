"""A record as tests need one."""

from sweeps.storage.record import Record, Trajectory

RECORD = Record(
    config_hash="ab" * 32,
    cell_hash="cd" * 32,
    config={"seed": 0},
    status="budget",
    reason="",
    summary={"rate/measured": 0.1, "time/seconds": 1.0},
    notes={},
    device="cpu",
    started=0,
    finished=1,
    environment={},
    trajectory=Trajectory.of(
        {"step": [0.0, 1.0, 2.0], "loss": [4.0, 2.0, 1.0], "norm_w": [1.0, None, 1.0]}
    ),
)
