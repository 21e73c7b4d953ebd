"""Sweeps over how deep equilibrium models train: content-addressed, with theory beside."""

__version__ = "0.1.0"
