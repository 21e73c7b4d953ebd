"""Trains packs of trials, on Ray or in this process. Only this package imports Ray."""
