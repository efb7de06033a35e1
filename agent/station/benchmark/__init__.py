"""Measures this station: its drives, its processors, the way to its account; and says what limits it."""
