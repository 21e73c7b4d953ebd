"""Fixtures for all tests."""

import pytest
import torch
from openml_server import OpenmlServer

torch.set_num_threads(1)


@pytest.fixture
def openml(monkeypatch):
    """A mock of OpenML at the addresses that scikit-learn uses."""
    from sklearn.datasets import _openml

    server = OpenmlServer()
    addresses = {
        name: value
        for name, value in vars(_openml).items()
        if isinstance(value, str) and value.startswith("https://")
    }
    for name, value in addresses.items():
        path = value.removeprefix("https://").partition("/")[2]
        monkeypatch.setattr(_openml, name, server.base + path)
    yield server
    server.close()
