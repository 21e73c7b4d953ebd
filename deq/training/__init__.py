"""Training: gradient descent on packs of trials, its records and its comparison with theory."""
