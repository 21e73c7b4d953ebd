"""Composes overrides and config files into validated, typed configs, and hashes them."""
