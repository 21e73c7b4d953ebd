"""Reads a user's words and files into checked, typed configurations, and hashes them."""
