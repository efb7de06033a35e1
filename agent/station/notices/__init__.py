"""Tells others what happened: signed web-hooks, from the history, until they are there or given up."""
