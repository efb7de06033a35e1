"""NTFS, read in user space: what is on a volume, where it lies, and its bytes.

``NtfsVolume`` is the way in; the other names are the values it gives.
"""

from agent.volume.entry import ORPHAN, DamagedRecord, Entry, StreamKind, StreamRef
from agent.volume.ntfs.volume import NtfsVolume

__all__ = ["ORPHAN", "DamagedRecord", "Entry", "NtfsVolume", "StreamKind", "StreamRef"]
