"""Plans of sweeps, and outcomes of their trials."""
