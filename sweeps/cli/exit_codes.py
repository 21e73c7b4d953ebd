"""Exit codes of the command line, as docs/exit-codes.md lists them."""

# A trial failed, a check or a comparison did; the disk is full, or the Ray cluster is lost.
FAILED = 1
# The command or the config is wrong, and nothing was started.
WRONG = 2
# MLflow has not received all results yet.
PENDING = 3
# A person interrupted the sweep, or stopped some of its trials.
INTERRUPTED = 130
