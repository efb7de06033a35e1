"""Moves one drive's files to the store: a reader process, an uploader process, a ring between them."""
