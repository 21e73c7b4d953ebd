"""Guards for the private parts of other libraries that this package uses.

Each test names the module that uses the part. If a test fails after an upgrade of a library, look
at that module first. Private parts that have a test of their own elsewhere:

- MLflow's front end (`tracking/charts.py`): test_charts.py
- MLflow's page tokens and its limit of ids in a query (`tracking/presence.py`):
  test_reconciliation.py
- MLflow's migrations, read as text (`tracking/schema.py`): test_durable.py
- MLflow's tables of runs give the same as its API (`tracking/bulk.py`): test_bulk.py
- MLflow's tables of inputs give the same as its API (`tracking/inputs.py`): test_inputs.py
- ASHA with trials that only have an id (`execution/asha.py`): test_early_stopping.py
- Ray's address and token (`execution/local_ray.py`): test_own_ray.py
"""

import inspect
import re
from pathlib import Path

import pytest
import ray
import sqlalchemy
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from mlflow import MlflowClient, environment_variables
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels import models
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking.context.registry import resolve_tags
from ray import _raylet
from ray._common.usage import usage_constants
from ray._private import accelerators, auto_init_hook, ray_constants, services, worker
from ray.air import constants as air_constants
from ray.tune import constants as tune_constants
from ray.tune.execution import class_cache
from ray.tune.experiment import trial as tune_trial
from ray.tune.trainable.function_trainable import FunctionTrainable, wrap_function
from ray.tune.utils import callback as tune_callbacks

import sweeps.execution.tune
import sweeps.tracking
from sweeps.execution import executor, local_ray
from sweeps.execution.retry import FailureCause
from sweeps.execution.worker_errors import parse_worker_error

RAY = Path(ray.__file__).parent
PROGRAMS = [
    RAY / "_raylet.so",
    RAY / "core/src/ray/gcs/gcs_server",
    RAY / "core/src/ray/raylet/raylet",
]


@pytest.fixture(scope="module")
def ray_texts():
    return [path.read_bytes() for path in PROGRAMS]


def variables_of(module):
    """Environment variables that a module sets by `os.environ.setdefault`."""
    names = re.findall(r'environ\.setdefault\(\s*"(\w+)"', inspect.getsource(module))
    assert names
    return set(names)


def test_ray_prints_the_death_of_a_worker_by_the_function_that_is_replaced():
    """execution/ray_cluster.py"""
    source = inspect.getsource(worker)  # not the function, which Ray of this process may replace
    (parameters,) = re.findall(r"^def print_to_stdstream\(([^)]*)\)", source, re.MULTILINE)
    assert [one.split(":")[0] for one in parameters.split(", ")] == ["data", "ignore_prefix"]
    assert len(re.findall(r"(?<!def )\bprint_to_stdstream\b", source)) >= 2


def test_rays_native_part_can_read_the_environment_again():
    """execution/local_ray.py"""
    assert callable(_raylet.Config.initialize)
    assert callable(_raylet.AuthenticationTokenLoader.instance().reset_cache)


def test_rays_nodes_use_loopback_if_the_constant_forbids_clusters():
    """execution/local_ray.py"""
    assert local_ray.OF_SEVERAL == ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    assert isinstance(ray_constants.ENABLE_RAY_CLUSTER, bool)
    assert "ray_constants.ENABLE_RAY_CLUSTER" in inspect.getsource(services)


@pytest.mark.parametrize("name", ["RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_ray_reads_the_variables_of_its_token(name, ray_texts):
    """execution/local_ray.py"""
    assert name.encode() in ray_texts[0]


def test_ray_names_its_sockets_as_the_longest_path_assumes():
    """execution/local_ray.py"""
    from ray._private import node

    source = inspect.getsource(node)
    assert 'f"session_{date_str}_{os.getpid()}"' in source
    assert '"plasma_store"' in source
    assert '"sockets"' in source


def test_ray_reads_the_variables_that_the_executor_sets(ray_texts):
    """execution/executor.py"""
    readers = {
        "RAY_USAGE_STATS_ENABLED": usage_constants,
        "RAY_AIR_NEW_OUTPUT": air_constants,
        "RAY_ENABLE_AUTO_CONNECT": auto_init_hook,
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": accelerators.accelerator,
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": tune_callbacks,
    }
    native = {"RAY_task_events_shutdown_flush_timeout_ms"}
    assert set(readers) | native == variables_of(executor)
    assert all(name.encode() in ray_texts[0] for name in native)
    for name, module in readers.items():
        texts = inspect.getsource(module) + inspect.getsource(tune_constants)
        assert name in texts, name


def test_tune_passes_on_variables_by_the_set_that_is_replaced():
    """execution/tune.py"""
    source = inspect.getsource(class_cache)
    assert "in ENV_VARS_TO_PROPAGATE:" in source
    assert "AWS_" in source
    assert sweeps.execution.tune.class_cache is class_cache
    assert not [name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")]


def test_tune_writes_the_errors_of_a_worker_as_they_are_read():
    """execution/tune.py"""
    assert isinstance(tune_trial.Trial.error_file, property)
    assert '"Failure # {} (' in inspect.getsource(tune_trial.Trial)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("running low on memory", FailureCause.MEMORY),
        ("node has died", FailureCause.NODE),
        ("node died", FailureCause.NODE),
        ("temporarily unavailable", FailureCause.NODE),
        ("connection error code ", FailureCause.WORKER),
    ],
)
def test_ray_names_the_causes_of_a_workers_death_in_these_words(words, cause, ray_texts):
    """execution/worker_errors.py"""
    assert any(words.encode() in text for text in ray_texts)
    assert parse_worker_error(f"{words}2")[1] is cause


def test_a_ray_head_can_be_asked_by_its_native_client(ray_texts):
    """execution/ray_head.py"""
    assert inspect.isclass(_raylet.GcsClient)  # it passes calls on to InnerGcsClient
    for method in ("internal_kv_get", "get_all_node_info"):
        assert callable(getattr(_raylet.InnerGcsClient, method))
    from ray._common.usage import usage_lib

    source = inspect.getsource(usage_lib) + inspect.getsource(usage_constants)
    for key in ("CLUSTER_METADATA", "ray_version", "python_version"):
        assert key in source


def test_mlflows_client_has_the_store_and_the_store_its_engine(tmp_path):
    """tracking/client.py, tracking/inputs.py, tracking/bulk.py"""
    store = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")._tracking_client.store
    assert isinstance(store, SqlAlchemyStore)
    with store.ManagedSessionMaker(read_only=False) as session:
        assert session.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
    store.engine.dispose()


@pytest.mark.parametrize(
    ("model", "columns"),
    [
        (
            "SqlInput",
            {"input_uuid", "source_type", "source_id", "destination_type", "destination_id"},
        ),
        ("SqlInputTag", {"input_uuid", "name", "value"}),
        (
            "SqlDataset",
            {
                *("dataset_uuid", "experiment_id", "name", "digest"),
                *("dataset_source_type", "dataset_source", "dataset_profile"),
            },
        ),
        ("SqlRun", {"run_uuid", "artifact_uri"}),
        ("SqlExperiment", {"artifact_location"}),
    ],
)
def test_mlflows_tables_have_the_columns_that_are_written(model, columns):
    """tracking/inputs.py, tracking/schema.py, tracking/store.py"""
    table = getattr(models, model).__table__
    assert columns <= {column.name for column in table.columns}
    required = {column.name for column in table.columns if _is_required(column)}
    if model in ("SqlInput", "SqlInputTag", "SqlDataset"):
        assert required <= columns
    names = {"SqlRun": "runs", "SqlExperiment": "experiments"}
    assert table.name == names.get(model, table.name)


def _is_required(column):
    return not (
        column.nullable or column.default or column.server_default or column.autoincrement is True
    )


def test_mlflow_creates_and_upgrades_its_tables_by_these_functions():
    """tracking/schema.py"""
    for function in (utils._initialize_tables, utils._upgrade_db):
        assert list(inspect.signature(function).parameters) == ["engine"]
    assert next(iter(inspect.signature(utils.create_sqlalchemy_engine).parameters)) == "db_uri"


def test_mlflow_reads_the_variables_that_are_set():
    """tracking/__init__.py, tracking/store.py"""
    for name in variables_of(sweeps.tracking) | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION"}:
        assert getattr(environment_variables, name).name == name


def test_mlflow_resolves_the_tags_of_user_and_source():
    """tracking/client.py"""
    assert {"mlflow.user", "mlflow.source.name", "mlflow.source.type"} <= set(resolve_tags())


def test_hydra_takes_more_than_one_folder_of_config_files(tmp_path):
    """config/hydra_session.py"""
    path = create_config_search_path(str(tmp_path))
    path.prepend("command-line", "file:///first", SearchPathQuery(provider="main"))
    paths = [element.path for element in path.get_path()]
    assert paths.index("file:///first") < paths.index(str(tmp_path))
    parameters = inspect.signature(Hydra.create_main_hydra2).parameters
    assert list(parameters) == ["task_name", "config_search_path"]


def test_tune_makes_a_class_of_a_function_whose_cleanup_can_be_extended():
    """Its cleanup does not wait for the thread, or ours would be of no use."""
    made = wrap_function(lambda config: None)
    assert issubclass(made, FunctionTrainable)
    assert "finish(timeout=0)" in inspect.getsource(FunctionTrainable.cleanup)
