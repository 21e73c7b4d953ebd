"""Writes the data sets of trials as MLflow's dataset inputs, which fill the Datasets column.

MLflow takes them in a separate request for each run, which would cost a tenth of a short trial's
run. In the embedded store, the inputs of many runs are written in one transaction. That uses
private parts of MLflow; a test fails if they change.
"""

import functools
import hashlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import deq
from sweeps.config.hashing import canonical
from sweeps.config.request import trial_from_plain
from sweeps.errors import ConfigError

# Length of a data set's digest: MLflow takes 8 to 36 digits.
DIGITS = 16
CONTEXT = ("mlflow.data.context", "training")

Plain = dict[str, Any]


def log_inputs(client: Any, experiment: str, data: Mapping[str, Plain], *, exclusive: bool) -> None:
    """Write the data sets that runs trained on; writing them again changes nothing.

    Args:
        client: MLflow's client.
        experiment: id of the runs' experiment.
        data: the `data` part of the trial's config, by run id.
        exclusive: whether the store is a database that only this process writes to.
    """
    from mlflow.entities import DatasetInput, InputTag

    if exclusive:
        _write(client._tracking_client.store, experiment, data)
        return
    for run, plain in data.items():
        dataset = DatasetInput(dataset_of(_text(plain)), [InputTag(*CONTEXT)])
        client.log_inputs(run, [dataset])


@functools.cache
def dataset_of(text: str) -> Any:
    """Return a data set as MLflow's `Dataset`.

    The digest is made from the data part of the trials' identity, which has the SHA-256 of the
    data file, if there is one. `source` is the `data` part of the config.

    Args:
        text: the `data` part of the config, as JSON.
    """
    from mlflow.entities import Dataset

    plain = json.loads(text)
    data = trial_from_plain({"data": plain}).data
    identity = json.dumps(canonical(data), sort_keys=True)
    named = Path(plain["path"]).stem if plain.get("path") else plain["name"]
    return Dataset(
        name=named,
        digest=hashlib.sha256(identity.encode()).hexdigest()[:DIGITS],
        source_type="sweeps",
        source=text,
        profile=json.dumps(_profile(data)),
    )


def _text(plain: Plain) -> str:
    return json.dumps(plain, sort_keys=True)


def _profile(data: deq.DataConfig) -> dict[str, int]:
    """Return N and d; what the config has of them if the data file is not on this machine."""
    try:
        d, n = deq.shape_of(data)
    except (ValueError, OSError, ConfigError):
        return {"n": data.n} if data.n else {}
    return {"n": n, "d": d}


def _write(store: Any, experiment: str, data: Mapping[str, Plain]) -> None:
    """Write many runs' inputs into MLflow's own database, in one transaction."""
    from mlflow.store.tracking.dbmodels.models import SqlInput, SqlInputTag
    from sqlalchemy import insert, select

    with store.ManagedSessionMaker(read_only=False) as session:
        written = select(SqlInput.destination_id).where(
            SqlInput.source_type == "DATASET",
            SqlInput.destination_type == "RUN",
            SqlInput.destination_id.in_(list(data)),
        )
        present = set(session.scalars(written))
        ids: dict[str, str] = {}
        inputs: list[Plain] = []
        for run, plain in data.items():
            if run in present:
                continue
            text = _text(plain)
            source = ids.get(text) or _dataset(session, experiment, dataset_of(text))
            ids[text] = source
            inputs.append(
                {
                    "input_uuid": uuid.uuid4().hex,
                    "source_type": "DATASET",
                    "source_id": source,
                    "destination_type": "RUN",
                    "destination_id": run,
                }
            )
        if inputs:
            tags = [
                {"input_uuid": row["input_uuid"], "name": CONTEXT[0], "value": CONTEXT[1]}
                for row in inputs
            ]
            session.execute(insert(SqlInput), inputs)
            session.execute(insert(SqlInputTag), tags)


def _dataset(session: Any, experiment: str, dataset: Any) -> str:
    """Return the id of a data set in an experiment; it is written if it is new."""
    from mlflow.store.tracking.dbmodels.models import SqlDataset
    from sqlalchemy import select

    query = select(SqlDataset.dataset_uuid).where(
        SqlDataset.experiment_id == int(experiment),
        SqlDataset.name == dataset.name,
        SqlDataset.digest == dataset.digest,
    )
    present = session.scalars(query).first()
    if present:
        return str(present)
    new = uuid.uuid4().hex
    session.add(
        SqlDataset(
            dataset_uuid=new,
            experiment_id=int(experiment),
            name=dataset.name,
            digest=dataset.digest,
            dataset_source_type=dataset.source_type,
            dataset_source=dataset.source,
            dataset_profile=dataset.profile,
        )
    )
    session.flush()
    return new
