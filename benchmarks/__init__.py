"""Measurements of the engine; each module is a command, `python -m benchmarks.NAME [--json]`."""
