"""Whether this machine, its settings and its store are fit for a station: one finding a check."""
