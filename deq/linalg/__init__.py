"""Linear algebra: eigenvalues, operator norms, threads and precision of this process."""
