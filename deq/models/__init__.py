"""Models: activations, the equilibrium's and the adjoint's maps, the memory they need."""
