"""Export a sweep to one zip file, and import such a file after checking it."""
