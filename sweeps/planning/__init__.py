"""From composed trials to a plan of what is left to train, and what came of it."""
