"""Health check of the MLflow server: exit code 0 if its API answers the administrator.

    python mlflow_health.py URL

/health would say 200 even while the API refuses every request. A client of MLflow would be
imported for 2 s of CPU; this is one HTTP request.
"""

import base64
import os
import sys
import urllib.error
import urllib.request

login = f"admin:{os.environ['MLFLOW_AUTH_ADMIN_PASSWORD']}"
request = urllib.request.Request(
    f"{sys.argv[1]}/api/2.0/mlflow/experiments/get?experiment_id=0",
    headers={"Authorization": "Basic " + base64.b64encode(login.encode()).decode()},
)
try:
    urllib.request.urlopen(request, timeout=20).close()
except urllib.error.HTTPError as error:
    # 404: the default experiment was deleted, and MLflow has looked it up.
    sys.exit(0 if error.code == 404 else f"MLflow answers {error.code} {error.reason}")
except OSError as error:
    sys.exit(f"MLflow does not answer: {error}")
