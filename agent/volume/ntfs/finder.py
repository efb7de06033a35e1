"""The file of a path, through the indexes of the directories on its way."""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import NtfsDamaged
from agent.volume.block import BlockSource
from agent.volume.entry import Entry
from agent.volume.ntfs.facts import DOS_NAMESPACE, FileFacts, FileName, gather
from agent.volume.ntfs.index import UPCASE_BYTES, DirectoryIndex, Found, UpperCase
from agent.volume.ntfs.record import DIRECTORY, RECORD_MASK, Attribute, AttributeType, Record
from agent.volume.ntfs.scan import make_entry
from agent.volume.ntfs.table import MasterFileTable
from agent.volume.ntfs.tree import EXTEND_RECORD, FIRST_USER_RECORD, MAX_DEPTH, ROOT_RECORD

_UPCASE_RECORD = 10
_MAX_CACHED_DIRECTORIES = 4096


@dataclass(frozen=True, slots=True)
class Folder:
    """An opened directory; ``is_system`` says that NTFS keeps what is in it for itself."""

    record: Record
    path: tuple[str, ...]
    is_system: bool
    index: DirectoryIndex


class Finder:
    """Looks paths up on one volume. Thread-safe, as its source is."""

    def __init__(self, table: MasterFileTable, source: BlockSource) -> None:
        self._table = table
        self._source = source
        self._upper: UpperCase | None = None
        self._directories: dict[tuple[int, str], Found] = {}
        # Replaced as a whole, so threads see the old or the new one.
        self._last: tuple[tuple[str, ...], Folder | None] | None = None

    def find(self, path: str) -> Entry | None:
        """See ``NtfsVolume.find``."""
        names = [name for name in path.split("\\") if name]
        if len(names) > MAX_DEPTH:
            return None
        if not names:
            record, attributes = self._load(ROOT_RECORD)
            return make_entry(self._table, record, gather(attributes, ROOT_RECORD), [((), False)])[0]
        folder = self._folder(tuple(names[:-1]))
        found = folder.index.look_up(names[-1], self._upper_case()) if folder is not None else None
        if folder is None or found is None:
            return None
        record, attributes = self._load(found.reference)
        facts = gather(attributes, record.number)
        place = (*folder.path, _own_name(facts, folder.record.number, found, record.number))
        is_system = folder.is_system or record.number < FIRST_USER_RECORD
        return make_entry(self._table, record, facts, [(place, is_system)])[0]

    def _folder(self, way: tuple[str, ...]) -> Folder | None:
        """The directory of that path; None if there is none.

        Who looks up one file mostly goes on beside it. So the last directory stays open: to open one that
        lies in many pieces takes longer than all that is looked up in it.
        """
        last = self._last
        if last is not None and last[0] == way:
            return last[1]
        folder = self._opened(*self._load(ROOT_RECORD), (), is_system=False)
        for name in way:
            folder = self._below(folder, name) if folder is not None else None
        self._last = way, folder
        return folder

    def _below(self, parent: Folder, name: str) -> Folder | None:
        found = self._look_up(parent, name)
        if found is None:
            return None
        record, attributes = self._load(found.reference)
        own = _own_name(gather(attributes, record.number), parent.record.number, found, record.number)
        is_system = parent.is_system or record.number == EXTEND_RECORD
        return self._opened(record, attributes, (*parent.path, own), is_system=is_system)

    def _opened(
        self, record: Record, attributes: list[Attribute], path: tuple[str, ...], *, is_system: bool
    ) -> Folder | None:
        if not record.flags & DIRECTORY:
            return None
        index = DirectoryIndex(record.number, attributes, self._source, self._table.geometry)
        return Folder(record, path, is_system, index)

    def _look_up(self, folder: Folder, name: str) -> Found | None:
        """What is on the way is remembered; the last name of a path is not looked up here."""
        key = folder.record.reference, name
        known = self._directories.get(key)
        if known is None:
            known = folder.index.look_up(name, self._upper_case())
            if known is not None:
                if len(self._directories) >= _MAX_CACHED_DIRECTORIES:
                    self._directories.clear()
                self._directories[key] = known
        return known

    def _load(self, reference: int) -> tuple[Record, list[Attribute]]:
        record = self._table.referenced(reference)
        return record, self._table.attributes(record)

    def _upper_case(self) -> UpperCase:
        if self._upper is None:
            _, attributes = self._load(_UPCASE_RECORD)
            data = [each for each in attributes if each.type == AttributeType.DATA and not each.name]
            if not data:
                raise NtfsDamaged("$UpCase has no content")
            self._upper = UpperCase(self._table.value(data, UPCASE_BYTES))
        return self._upper


def _own_name(facts: FileFacts, parent: int, found: Found, number: int) -> str:
    """The name as the file itself has it; the long one where the index led by the 8.3 alias."""
    here = [name for name in facts.names if name.parent & RECORD_MASK == parent]
    if not any(name.name == found.name for name in here):
        raise NtfsDamaged(f"MFT record {number} is listed in directory {parent} and does not have that name")
    if _is_alias(here, found.name):
        return next((name.name for name in here if name.namespace != DOS_NAMESPACE), found.name)
    return found.name


def _is_alias(names: list[FileName], text: str) -> bool:
    return all(name.namespace == DOS_NAMESPACE for name in names if name.name == text)
