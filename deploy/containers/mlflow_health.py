"""Health check of the MLflow server: exit code 0 if its API answers the administrator.

    python mlflow_health.py HOST:PORT

/health would say 200 even while the API refuses every request. A client of MLflow would be
imported for 2 s of CPU; this is one HTTP request.
"""

import base64
import http.client
import os
import sys

login = f"admin:{os.environ['MLFLOW_AUTH_ADMIN_PASSWORD']}".encode()
server = http.client.HTTPConnection(sys.argv[1], timeout=20)
try:
    server.request(
        "GET",
        "/api/2.0/mlflow/experiments/get?experiment_id=0",
        headers={"Authorization": f"Basic {base64.b64encode(login).decode()}"},
    )
    status = server.getresponse().status
except OSError as error:
    sys.exit(f"MLflow does not answer: {error}")
# 404: the default experiment was deleted, and MLflow has looked it up.
sys.exit(0 if status in (200, 404) else f"MLflow answers {status}")
