"""The model: its weights, the maps of equilibrium and adjoint, the memory they need."""
