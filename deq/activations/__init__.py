"""Activations phi, built in or defined by a user, and their dual activations."""
