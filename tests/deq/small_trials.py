"""A small trial, its data, and the activations that tests run over."""

from deq.activations.builtin import ACTIVATIONS
from deq.config import ModelConfig, SolverConfig, TrainConfig, TrialConfig
from deq.data import SphereConfig, load
from deq.training.comparison import train

EVERY = tuple(ACTIVATIONS)
SOME = ("relu", "tanh", "cos", "gelu")  # kinked, odd, phi(0) = 1, no symmetry
DATA = load(SphereConfig(n=5, d=4, seed=3))


def config(**parts) -> TrialConfig:
    base = {
        "data": SphereConfig(n=5, d=4, seed=3),
        "model": ModelConfig(width=12, activation="tanh"),
        "train": TrainConfig(steps=20),
        "solver": SolverConfig(tol=1e-13),
    }
    return TrialConfig(**base | parts)


def run_to_end(**parts):
    return train(config(**parts))


def finished(descent):
    """Train to the end; return the descent."""
    for _ in descent:
        pass
    return descent
