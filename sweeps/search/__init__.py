"""How a search space is searched: which trials a sweep consists of, round by round."""
