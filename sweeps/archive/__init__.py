"""A sweep as one file: written here, and read with the distrust that a foreign file deserves."""
