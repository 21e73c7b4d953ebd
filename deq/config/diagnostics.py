"""Configuration of what is measured while a trial trains."""

from dataclasses import dataclass, field

# Most layers of a network of finite depth; with far fewer the distance is rounding already.
MOST_LAYERS = 10_000


@dataclass(frozen=True)
class DiagnosticsConfig:
    """Cadence of the spectra.

    Attributes:
        every: GD steps between measurements of grad_norm, ||W||_2, lambda_min(G) and
            lambda_min(H). Loss, residuals and solver steps are recorded at every step.
        depth: number of layers up to which networks of finite depth are compared with the
            equilibrium of the network at step 0; 0: no comparison. It costs as many products with
            W as layers, and memory for one more W.
        high_dimension: whether the kernel K of the infinite width is compared with its explicit
            equivalents for inputs that are nearly orthogonal. It costs eigenvalues of n x n
            matrices, once for each trial.
    """

    every: int = 10
    depth: int = field(default=0, metadata={"absent_at": 0})
    high_dimension: bool = field(default=False, metadata={"absent_at": False})

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1, not {self.every}")
        if not 0 <= self.depth <= MOST_LAYERS:
            raise ValueError(f"depth must be in 0 .. {MOST_LAYERS}, not {self.depth}")
