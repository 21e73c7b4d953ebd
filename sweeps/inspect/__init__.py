"""Commands that look at sweeps and trials, and train nothing."""
