"""Modules that libraries import when they are first needed: in a confined process that is too late."""

from __future__ import annotations

import sys
from importlib import import_module

_ENCODINGS = ("ascii", "latin_1", "utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "idna")
_OF_A_PACKAGE = {
    "numpy": ("numpy.exceptions", "numpy.ma"),  # numpy.unique asks whether its argument is masked
}


def import_late_modules() -> None:
    """Import now what the packages that are loaded would import later."""
    for encoding in _ENCODINGS:
        import_module(f"encodings.{encoding}")
    for package, modules in _OF_A_PACKAGE.items():
        if package in sys.modules:
            for module in modules:
                import_module(module)
