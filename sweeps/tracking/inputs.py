"""Data sets of trials as MLflow's dataset inputs, which fill the Datasets column.

MLflow takes them in a request of their own, one for each run, which would be a tenth of what
a short trial's run costs. In the embedded store many runs' are written in one transaction;
that uses private parts of MLflow, and a test says when they change.
"""

import functools
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import deq
from sweeps.config.hashing import canonical
from sweeps.config.request import trial_from_plain
from sweeps.errors import ConfigError

# Digits of a data set's digest: MLflow takes 8 to 36.
DIGITS = 16
CONTEXT = ("mlflow.data.context", "training")

Plain = dict[str, Any]


class Inputs:
    """Writes inputs; raises TrackingError when MLflow does not take them."""

    def __init__(
        self, client: Any, guard: Callable[[str], AbstractContextManager[None]], *, exclusive: bool
    ) -> None:
        """Write by this client.

        Args:
            client: MLflow's.
            guard: turns what the client raises into a TrackingError that says what failed.
            exclusive: as of `log_inputs`.
        """
        self._client, self._guard, self._exclusive = client, guard, exclusive

    def log(self, experiment: str, data: Mapping[str, Plain]) -> None:
        """Note on runs what they trained on; see `log_inputs`."""
        with self._guard("a data set"):
            log_inputs(self._client, experiment, data, exclusive=self._exclusive)


def log_inputs(client: Any, experiment: str, data: Mapping[str, Plain], *, exclusive: bool) -> None:
    """Note on runs what they trained on; again, it changes nothing.

    Args:
        client: MLflow's.
        experiment: of all these runs.
        data: the `data` part of a trial's config, by run id.
        exclusive: whether the store is this process's own database.
    """
    from mlflow.entities import DatasetInput, InputTag

    if exclusive:
        _write(client._tracking_client.store, experiment, data)
        return
    for run, plain in data.items():
        found = DatasetInput(dataset_of(_text(plain)), [InputTag(*CONTEXT)])
        client.log_inputs(run, [found])


@functools.cache
def dataset_of(text: str) -> Any:
    """A data set as MLflow's `Dataset`.

    The digest is of what the set is: the part of the trials' identity that says it, with the
    SHA-256 of its file where it lies in one. `source` is the `data` part of the config.

    Args:
        text: that part, as JSON.
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
    """N and d; what the config says, where the file is not on this machine."""
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
        there = set(session.scalars(written))
        ids: dict[str, str] = {}
        inputs: list[Plain] = []
        for run, plain in data.items():
            if run in there:
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


def _dataset(session: Any, experiment: str, found: Any) -> str:
    """The id of a data set in the experiment, written when it is new there."""
    from mlflow.store.tracking.dbmodels.models import SqlDataset
    from sqlalchemy import select

    known = select(SqlDataset.dataset_uuid).where(
        SqlDataset.experiment_id == int(experiment),
        SqlDataset.name == found.name,
        SqlDataset.digest == found.digest,
    )
    there = session.scalars(known).first()
    if there:
        return str(there)
    made = uuid.uuid4().hex
    session.add(
        SqlDataset(
            dataset_uuid=made,
            experiment_id=int(experiment),
            name=found.name,
            digest=found.digest,
            dataset_source_type=found.source_type,
            dataset_source=found.source,
            dataset_profile=found.profile,
        )
    )
    session.flush()
    return made
