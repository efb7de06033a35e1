"""Which bay of the chassis a drive sits in."""

from __future__ import annotations

from collections.abc import Mapping

from agent.devices.facts import DriveFacts


def bay_of(facts: DriveFacts, labels: Mapping[str, str]) -> str:
    """The label of its ID_PATH (or of the older form of it for SATA); without one the path itself."""
    for path in (facts.id_path, facts.id_path_ata):
        if path in labels:
            return labels[path]
    return facts.id_path or facts.name
