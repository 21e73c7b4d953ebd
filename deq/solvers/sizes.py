"""History that solvers and predictors keep, and the tensors it takes; without torch.

A tensor here has the size of P = U X: (n, m) for one trial.
"""

# Vectors that a prediction fits the newest one by.
PREDICTION_DEPTH = 3
# Differences that Anderson keeps.
ANDERSON_DEPTH = 5
# Updates that Broyden keeps; then it starts anew.
BROYDEN_MEMORY = 20
# Most vectors of a Krylov space.
KRYLOV = 40
# Tensors that a solver holds besides its iterate, by its name.
TENSORS = {
    "picard": 0,
    "anderson": 2 * ANDERSON_DEPTH + 3,
    "broyden": 2 * BROYDEN_MEMORY + 4,
    "newton_krylov": KRYLOV + 8,
}
