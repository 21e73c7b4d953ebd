"""The one process that completes a sweep, and alone writes its record."""
