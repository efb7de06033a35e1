"""Modules that libraries import when they are first needed: in a confined process that is too late."""

from __future__ import annotations

from importlib import import_module

_ENCODINGS = ("ascii", "latin_1", "utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be")


def import_late_modules() -> None:
    """Import now what the standard library would import later."""
    for encoding in _ENCODINGS:
        import_module(f"encodings.{encoding}")
