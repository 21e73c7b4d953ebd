"""The mathematics: deep equilibrium models, their training, and the theory beside it."""

from deq.activations import ACTIVATIONS, Activation
from deq.capacity import memory, pack_size
from deq.comparison import Outcome, compare, train, train_pack
from deq.course import COLUMNS, Status
from deq.data import DataConfig, Dataset, DigitsConfig, NpzConfig, SphereConfig, digest, load
from deq.machine import hardware, set_threads
from deq.model import ModelConfig
from deq.population import Population, population
from deq.solvers import SolverConfig
from deq.training import Descent
from deq.trial import DiagnosticsConfig, TrainConfig, TrialConfig

__all__ = [
    "ACTIVATIONS",
    "COLUMNS",
    "Activation",
    "DataConfig",
    "Dataset",
    "Descent",
    "DiagnosticsConfig",
    "DigitsConfig",
    "ModelConfig",
    "NpzConfig",
    "Outcome",
    "Population",
    "SolverConfig",
    "SphereConfig",
    "Status",
    "TrainConfig",
    "TrialConfig",
    "compare",
    "digest",
    "hardware",
    "load",
    "memory",
    "pack_size",
    "population",
    "set_threads",
    "train",
    "train_pack",
]
