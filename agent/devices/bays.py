"""Which bay of the chassis a drive sits in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from agent.devices.facts import DriveFacts

_BEHIND: Final = re.compile(r"-(?:ata|ide|sas|scsi|usb|nvme|fc|iscsi|ip|virtio|mmc|port)-")


def controller_of(facts: DriveFacts) -> str:
    """What its ID_PATH names before the port: ``pci-0000:00:1f.2``; empty where udev tells none."""
    return _BEHIND.split(facts.id_path, maxsplit=1)[0] if facts.id_path else ""


def bay_of(facts: DriveFacts, labels: Mapping[str, str]) -> str:
    """The label of its ID_PATH (or of the older form of it for SATA); without one the path itself."""
    for path in (facts.id_path, facts.id_path_ata):
        if path in labels:
            return labels[path]
    return facts.id_path or facts.name
