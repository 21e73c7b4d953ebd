"""Activations phi: the built-in ones, a user's own, and their dual activations."""
