"""The one exception of the oracles."""


class Broken(Exception):
    """A promise of the reader does not hold; the message says which."""
