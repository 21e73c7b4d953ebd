from .activations.activation import Activation
from .activations.builtin import ACTIVATIONS
from .activations.source import activation_digest
from .config import (
    PACK_KEYS,
    DiagnosticsConfig,
    ModelConfig,
    SolverConfig,
    TrainConfig,
    TrialConfig,
)
from .data import (
    Cifar10Config,
    DataConfig,
    DigitsConfig,
    MnistConfig,
    NpzConfig,
    OpenmlConfig,
    OrthonormalConfig,
    SphereConfig,
    digest,
    load,
    shape_of,
)
from .data.dataset import Dataset
from .linalg.hardware import hardware, memory_of, set_threads
from .models.memory import memory, pack_size
from .theory.population import Population, population
from .theory.statistics import (
    Kurtosis,
    Mean,
    PowerLaw,
    Proportion,
    excess_kurtosis,
    mean,
    power_law,
    proportion,
)
from .theory.width import sufficient_width
from .training.comparison import Outcome, columns, compare, train, train_pack
from .training.cost import Cost, cost
from .training.finite_depth import FiniteDepth, finite_depth
from .training.forecast import Forecast, curves_of, forecast, last_half
from .training.gradient_descent import Descent, GradientDescent
from .training.integrator_cost import IntegratorCost, integrator_cost
from .training.trained import Trained
from .training.training_run import COLUMNS, Course, Status, TrainingRun
from .training.weights import Weights
from .training.weights_file import WeightsFileError, load_trained, read_weights, save_weights

__all__ = [
    "ACTIVATIONS",
    "COLUMNS",
    "PACK_KEYS",
    "Activation",
    "Cifar10Config",
    "Cost",
    "Course",
    "DataConfig",
    "Dataset",
    "Descent",
    "DiagnosticsConfig",
    "DigitsConfig",
    "FiniteDepth",
    "Forecast",
    "GradientDescent",
    "IntegratorCost",
    "Kurtosis",
    "Mean",
    "MnistConfig",
    "ModelConfig",
    "NpzConfig",
    "OpenmlConfig",
    "OrthonormalConfig",
    "Outcome",
    "Population",
    "PowerLaw",
    "Proportion",
    "SolverConfig",
    "SphereConfig",
    "Status",
    "TrainConfig",
    "Trained",
    "TrainingRun",
    "TrialConfig",
    "Weights",
    "WeightsFileError",
    "activation_digest",
    "columns",
    "compare",
    "cost",
    "curves_of",
    "digest",
    "excess_kurtosis",
    "finite_depth",
    "forecast",
    "hardware",
    "integrator_cost",
    "last_half",
    "load",
    "load_trained",
    "mean",
    "memory",
    "memory_of",
    "pack_size",
    "population",
    "power_law",
    "proportion",
    "read_weights",
    "save_weights",
    "set_threads",
    "shape_of",
    "sufficient_width",
    "train",
    "train_pack",
]
