"""Checks within seconds whether a Ray cluster answers at an address and accepts us."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from sweeps.errors import ConfigError
from sweeps.execution.versions import local_versions, mismatch

# Seconds to wait for a connection.
CONNECT = 5
# Seconds to wait for the answer of a head.
ANSWER = 10


def check_address(address: str) -> list[dict[str, float]]:
    """Check that a Ray head at this address can be joined from this machine.

    Returns:
        The resources of each node, by Ray's names.

    Raises:
        ConfigError: the address is missing, does not answer, is not that of a Ray head, refuses
            us, or has other versions; or no node of the cluster is on this machine.
    """
    host, port = split(address)
    try:
        socket.create_connection((host, port), timeout=CONNECT).close()
    except OSError as error:
        raise ConfigError(
            f"cluster.address={address} does not answer ({error}): start the cluster "
            f"(`ray start --head --port={port}` there), or use cluster=local"
        ) from error
    head = _ask(address)
    if head.get("refused"):
        raise ConfigError(
            f"cluster.address={address} refuses us: set RAY_AUTH_MODE=token and the cluster's "
            "token in RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        )
    theirs = {name: head[name] for name in ("Python", "ray")}
    if wrong := mismatch(local_versions(), theirs):
        raise ConfigError(f"cluster.address={address}: {wrong}")
    if not any(_is_local(node) for node in head["nodes"]):
        raise ConfigError(
            f"cluster.address={address}: no node of the cluster is on this machine, and Ray "
            f"joins through one: `ray start --address={address} --num-cpus=0`, then again"
        )
    resources: list[dict[str, float]] = head["resources"]
    return resources


def split(address: str) -> tuple[str, int]:
    """Split an address into host and port.

    Raises:
        ConfigError: it is not HOST:PORT.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        given = f"cluster.address={address}" if address else "cluster=ray"
        raise ConfigError(
            f"{given} needs the head's address: set cluster.address=HOST:PORT or RAY_ADDRESS "
            "(the port of `ray start --head --port`, 6379 by default)"
        )
    return host, int(port)


def _ask(address: str) -> dict[str, Any]:
    """Return what `ray_head.py` prints on an address; it runs as a process with a time limit."""
    script = Path(__file__).with_name("ray_head.py")
    refusal = ConfigError(
        f"cluster.address={address} does not answer as a Ray head does: check the address "
        "(not the dashboard's port, not a client's ray://), or use cluster=local"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(script), address],
            capture_output=True,
            text=True,
            check=True,
            timeout=ANSWER,
            env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
        )
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        raise refusal from error
    return answer


def _is_local(address: str) -> bool:
    """Return whether an address is this machine's: only then can a socket be bound to it."""
    try:
        with socket.socket() as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
