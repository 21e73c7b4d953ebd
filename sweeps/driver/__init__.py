"""Completes sweeps: the driver is the only process that writes a sweep's record."""
