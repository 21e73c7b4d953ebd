"""A trial trained again from its record, here or from its commit, and the two compared."""
