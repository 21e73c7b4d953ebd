"""Fixed-point solvers: each contributes its step; the loop is in fixed_point."""
