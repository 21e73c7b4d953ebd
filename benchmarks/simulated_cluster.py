"""A Ray cluster of many nodes, all of them processes of this machine."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from ray.cluster_utils import Cluster

from sweeps.execution import local_ray


@contextlib.contextmanager
def simulated_cluster(nodes: int) -> Iterator[str]:
    """Start a head without CPUs and nodes of one CPU each; end them with the block.

    They listen on loopback and require a token, which is in this process's environment.

    Args:
        nodes: number of nodes besides the head.

    Yields:
        The head's address.
    """
    # Ray's sockets need a short path.
    scratch = tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True)
    with scratch as folder, local_ray.closed(), mock.patch.dict(os.environ, RAY_TMPDIR=folder):
        # The cluster's address is written here, and not where a user's own Ray has its address.
        Path(folder, "ray").mkdir()
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=0, temp_dir=folder, include_dashboard=False)
            for _ in range(nodes):
                cluster.add_node(num_cpus=1)
            yield cluster.address
        finally:
            cluster.shutdown()
