"""The mathematics: deep equilibrium models, their training, and the theory beside it."""

from deq.activations import ACTIVATIONS, Activation, activation_digest
from deq.capacity import memory, pack_size
from deq.comparison import Outcome, compare, train, train_pack
from deq.cost import Cost, cost
from deq.course import COLUMNS, Course, Status
from deq.data import (
    Cifar10Config,
    DataConfig,
    Dataset,
    DigitsConfig,
    MnistConfig,
    NpzConfig,
    OpenmlConfig,
    SphereConfig,
    digest,
    load,
)
from deq.forecast import Forecast, forecast, last_half
from deq.machine import hardware, memory_of, set_threads
from deq.model import ModelConfig
from deq.population import Population, population
from deq.solvers import SolverConfig
from deq.statistics import Mean, PowerLaw, mean, power_law
from deq.training import Descent
from deq.trial import DiagnosticsConfig, TrainConfig, TrialConfig

__all__ = [
    "ACTIVATIONS",
    "COLUMNS",
    "Activation",
    "Cifar10Config",
    "Cost",
    "Course",
    "DataConfig",
    "Dataset",
    "Descent",
    "DiagnosticsConfig",
    "DigitsConfig",
    "Forecast",
    "Mean",
    "MnistConfig",
    "ModelConfig",
    "NpzConfig",
    "OpenmlConfig",
    "Outcome",
    "Population",
    "PowerLaw",
    "SolverConfig",
    "SphereConfig",
    "Status",
    "TrainConfig",
    "TrialConfig",
    "activation_digest",
    "compare",
    "cost",
    "digest",
    "forecast",
    "hardware",
    "last_half",
    "load",
    "mean",
    "memory",
    "memory_of",
    "pack_size",
    "population",
    "power_law",
    "set_threads",
    "train",
    "train_pack",
]
