"""Program that asks a Ray head for its versions and nodes; it prints one line of JSON.

`python ray_head.py HOST:PORT`. Ray's client waits 40 s for an address that does not answer, and
writes to stderr. As a program of its own it can be ended by its caller.
"""

import json
import sys

from ray import _raylet
from ray.exceptions import AuthenticationError


def main(address: str) -> dict[str, object]:
    """Return the versions that the cluster was started with, its nodes' addresses and resources."""
    try:
        client = _raylet.GcsClient(  # type: ignore[attr-defined]
            address=address
        )
        text = client.internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster", timeout=5)
    except AuthenticationError:
        return {"refused": True}
    nodes = [node for node in client.get_all_node_info(timeout=5).values() if not node.state]
    metadata = json.loads(text or b"{}")
    return {
        "ray": metadata.get("ray_version", ""),
        "Python": metadata.get("python_version", ""),
        "nodes": [node.node_manager_address for node in nodes],
        "resources": [dict(node.resources_total) for node in nodes],
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
