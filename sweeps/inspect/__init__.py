"""Commands that inspect sweeps and trials without training."""
