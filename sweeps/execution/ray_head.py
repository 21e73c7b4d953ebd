"""Asks a Ray head what it is: `python head.py HOST:PORT` prints one line of JSON.

A program of its own, since Ray's client waits 40 s for an address that does not speak to
it, and writes to stderr: the caller ends this process when it has waited enough.
"""

import json
import sys

from ray import _raylet
from ray.exceptions import AuthenticationError


def main(address: str) -> dict[str, object]:
    """Versions the cluster was started with, and its nodes' addresses."""
    try:
        client = _raylet.GcsClient(  # type: ignore[attr-defined]
            address=address
        )
        text = client.internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster", timeout=5)
    except AuthenticationError:
        return {"refused": True}
    nodes = client.get_all_node_info(timeout=5).values()
    found = json.loads(text or b"{}")
    return {
        "ray": found.get("ray_version", ""),
        "Python": found.get("python_version", ""),
        "nodes": [node.node_manager_address for node in nodes if not node.state],
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
