"""Health check of a Ray node's own process: exit code 0 if it answers within seconds.

    python node_health.py HOST:PORT

The port is the GCS's on the head, and the node manager's on a worker. Both answer gRPC's
standard health protocol, which needs no token. `ray health-check` would ask the head only,
and import Ray for it (2 s of CPU; this takes 0.1 s).
"""

import sys

import grpc

# HealthCheckResponse(status=SERVING), as it comes over the wire.
SERVING = b"\x08\x01"

with grpc.insecure_channel(sys.argv[1]) as channel:
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    try:
        answer = check(b"", timeout=5)
    except grpc.RpcError as error:
        sys.exit(f"{sys.argv[1]}: {error.details()}")
sys.exit(answer != SERVING)
