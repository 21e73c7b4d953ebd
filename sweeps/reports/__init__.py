"""Report of a sweep: its verdict, the trials that need attention, its charts and figures."""
