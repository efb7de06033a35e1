"""Images that take what a guest writes, over one that nobody writes to."""

from __future__ import annotations

from pathlib import Path

from tests.lab.steps import run


def overlay(below: Path, file: Path) -> Path:
    """A new qcow2 file over an image (``.qcow2``, else raw)."""
    kind = "qcow2" if below.suffix == ".qcow2" else "raw"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(below), "-F", kind, str(file))
    return file
