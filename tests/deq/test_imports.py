"""Reading a configuration does not import torch."""

import subprocess
import sys

HEAVY = ("torch", "scipy", "sklearn")
READ = """
import sys
import deq
config = deq.TrialConfig(data=deq.SphereConfig(n=8, d=5), model=deq.ModelConfig(activation="gelu"))
deq.memory(config, 5, 8), deq.pack_size(config, 5, 8), deq.memory_of(), deq.shape_of(config.data)
deq.shape_of(deq.DigitsConfig())
print(*sorted(sys.modules))
"""


def test_configurations_shapes_and_memory_need_no_torch():
    loaded = subprocess.run(
        [sys.executable, "-c", READ], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "deq.config" in loaded
    assert not [name for name in HEAVY if name in loaded]
