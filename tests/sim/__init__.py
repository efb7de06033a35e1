"""Simulation: one drive's transfer in one process, in virtual time, and every way to break it off."""
