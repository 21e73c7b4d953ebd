"""The mathematics: deep equilibrium models, their training, and the theory beside it."""

from deq.activations import ACTIVATIONS, Activation, activation_digest
from deq.comparison import Outcome, compare, train, train_pack
from deq.cost import Cost, cost, memory
from deq.course import COLUMNS, Status
from deq.data import DataConfig, Dataset, DigitsConfig, NpzConfig, SphereConfig, digest, load
from deq.forecast import Forecast, forecast, last_half
from deq.machine import hardware, set_threads
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
    "Cost",
    "DataConfig",
    "Dataset",
    "Descent",
    "DiagnosticsConfig",
    "DigitsConfig",
    "Forecast",
    "Mean",
    "ModelConfig",
    "NpzConfig",
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
    "population",
    "power_law",
    "set_threads",
    "train",
    "train_pack",
]
