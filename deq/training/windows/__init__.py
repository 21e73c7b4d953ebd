"""Many GD steps at once: windows collocated in time, the same discrete trajectory."""
