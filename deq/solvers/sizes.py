"""Lengths of the histories of solvers and predictors, and their memory; without torch."""

# Vectors that a prediction is fitted by.
PREDICTION_DEPTH = 3
# Differences in Anderson acceleration.
ANDERSON_DEPTH = 5
# Updates after which Broyden's method restarts.
BROYDEN_MEMORY = 20
# Most vectors of a Krylov space.
KRYLOV = 40
# Tensors (n, m) per trial that a solver holds besides its iterate.
TENSORS = {
    "picard": 0,
    "anderson": 2 * ANDERSON_DEPTH + 3,
    "broyden": 2 * BROYDEN_MEMORY + 4,
    "newton_krylov": KRYLOV + 8,
}
