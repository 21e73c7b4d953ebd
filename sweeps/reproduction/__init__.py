"""Train a recorded trial again, here or with the code of a commit, and compare the results."""
