"""The bays of a station as udev rules: which disks are to be kept from being written and mounted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

FILE_NAME: Final = "59-drive-ingest-bays.rules"
"""Before 60-drive-ingest.rules, which acts on what this one sets."""

_HEAD: Final = """\
# Made by `ingest-agent bays --rules` from the [bays] of the settings.
SUBSYSTEM!="block", GOTO="drive_ingest_bays_end"
ENV{DEVTYPE}!="disk", GOTO="drive_ingest_bays_end"
DEVPATH!="*/virtual/*", IMPORT{builtin}="path_id"
"""
_TAIL: Final = 'LABEL="drive_ingest_bays_end"\n'


def bay_rules(paths: Iterable[str]) -> str:
    """The text of the file for these ID_PATHs, which hold no character that is special in a rule."""
    return _HEAD + "".join(_lines(paths)) + _TAIL


def _lines(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        for name in ("ID_PATH", "ID_PATH_ATA_COMPAT"):
            yield f'ENV{{{name}}}=="{path}", ENV{{DRIVE_INGEST_BAY}}="1"\n'
