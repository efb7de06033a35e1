"""Turns a box of shipped hard drives into verified blobs."""

__version__ = "0.1.0"
