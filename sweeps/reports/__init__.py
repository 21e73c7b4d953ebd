"""Parts of a sweep's report: its verdict, what needs attention, its interactive charts."""
