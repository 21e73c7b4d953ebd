"""Searches: they choose the trials of a sweep, round by round."""
