"""Sets the MLflow administrator's password to that of the environment, then runs a command.

    python mlflow_password.py mlflow server ...

MLflow reads MLFLOW_AUTH_ADMIN_PASSWORD when it creates the user, and never again: after a
change of it in `.env`, its API would refuse everybody.
"""

import os
import sys

from mlflow.server.auth.config import read_auth_config
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

config = read_auth_config()
name, password = config.admin_username, config.admin_password
store = SqlAlchemyStore()
store.init_db(config.database_uri)
if name and password and store.has_user(name) and not store.authenticate_user(name, password):
    store.update_user(name, password=password)
    print(f"the password of {name} is now that of MLFLOW_AUTH_ADMIN_PASSWORD", flush=True)
os.execvp(sys.argv[1], sys.argv[1:])
