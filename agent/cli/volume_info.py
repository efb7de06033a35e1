"""How a survey of a drive is shown: as text for people, as one document for machines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.cli.screen import size
from agent.cli.volume_source import Bench
from agent.cli.volume_survey import Step, Survey
from agent.model.printable import printable
from agent.volume.bitlocker import Metadata
from agent.volume.ntfs import NtfsVolume
from agent.volume.ntfs.geometry import Geometry
from agent.volume.opening import keys_that_open
from agent.volume.partition import Layout, Partition

_LABEL_WIDTH = 14


def survey_to_json(bench: Bench, found: Survey) -> dict[str, Any]:
    """Of what was not reached, null. ``ended`` is null when the survey came to its end."""
    return {
        "source": {
            "path": str(bench.path),
            "device": bench.is_device,
            "bytes": bench.drive.size_bytes,
            "sectorBytes": bench.drive.sector_size,
        },
        "disk": _layout_to_json(found.layout) if found.layout is not None else None,
        "volume": _choice_to_json(found) if found.chosen is not None else None,
        "bitlocker": _bitlocker_to_json(found, found.metadata) if found.metadata is not None else None,
        "ntfs": _ntfs_to_json(found, found.geometry) if found.geometry is not None else None,
        "ended": _ended_to_json(found),
        "confinement": bench.confinement.sentence,
    }


def _layout_to_json(layout: Layout) -> dict[str, Any]:
    return {
        "table": layout.table,
        "partitions": [
            {
                "number": part.number,
                "start": part.start,
                "bytes": part.size_bytes,
                "role": part.role,
                "type": part.type_code,
                "name": part.name,
            }
            for part in layout.partitions
        ],
        "remarks": list(layout.remarks),
    }


def _choice_to_json(found: Survey) -> dict[str, Any]:
    assert found.chosen is not None
    part = found.chosen.partition
    return {
        "partition": part.number,
        "start": part.start,
        "bytes": part.size_bytes,
        "why": found.chosen.why,
        "encrypted": found.is_encrypted,
    }


def _bitlocker_to_json(found: Survey, metadata: Metadata) -> dict[str, Any]:
    return {
        "volume": str(metadata.volume_guid),
        "description": metadata.description,
        "toGo": metadata.to_go,
        "cipher": metadata.cipher_name,
        "sectorBytes": metadata.sector_size,
        "encryptedBytes": metadata.encrypted_size_bytes,
        "state": metadata.state,
        "stateCodes": [metadata.current_state, metadata.next_state],
        "copyUsed": metadata.copy_used,
        "copies": [
            {"offset": offset, "problem": problem}
            for offset, problem in zip(metadata.metadata_offsets, found.copies, strict=True)
        ],
        "protectors": [
            {"kind": protector.kind, "id": str(protector.guid), "name": protector.name}
            for protector in metadata.protectors
        ],
        "opensWith": list(keys_that_open(metadata)),
        "openedBy": found.opened_by,
    }


def _ntfs_to_json(found: Survey, geometry: Geometry) -> dict[str, Any]:
    sizes = {
        "serial": f"{geometry.serial:016X}",
        "bytes": geometry.volume_bytes,
        "sectorBytes": geometry.sector_size,
        "clusterBytes": geometry.cluster_size,
        "recordBytes": geometry.record_size,
        "bootSectorProblem": found.boot_problem,
        "records": found.record_count,
    }
    ntfs = found.ntfs
    if ntfs is None:
        return sizes
    return {
        **sizes,
        "version": "{}.{}".format(*ntfs.version),
        "label": ntfs.label,
        "dirty": ntfs.is_dirty,
        "hibernated": ntfs.is_hibernated,
        "logOpen": ntfs.is_log_open,
    }


def _ended_to_json(found: Survey) -> dict[str, Any] | None:
    if found.step is Step.DONE:
        return None
    error = found.error
    return {
        "step": found.step,
        "error": error.id if error is not None else None,
        "detail": error.detail if error is not None else "no key is given",
    }


def survey_lines(bench: Bench, found: Survey, *, verbose: bool) -> Iterator[str]:
    """A label and a fact a line. Names that come from the drive cannot steer the terminal."""
    kind = "device" if bench.is_device else "image file"
    yield _line("source", f"{printable(str(bench.path))}, {kind}, {_bytes(bench.drive.size_bytes)}")
    if found.layout is not None:
        yield from _layout_lines(found, found.layout)
    if found.chosen is not None:
        yield _line("volume", found.chosen.why)
    if found.metadata is not None:
        yield from _bitlocker_lines(found, found.metadata)
    elif found.is_encrypted is False:
        yield _line("BitLocker", "none: the volume is not encrypted (a job needs --allow-unencrypted for it)")
    if found.geometry is not None:
        yield from _ntfs_lines(found, found.geometry)
    if found.error is not None:
        yield _line("ended", f"at the {found.step}: {printable(found.error.detail)}")
    if verbose:
        yield _line("confined by", bench.confinement.sentence)


def _layout_lines(found: Survey, layout: Layout) -> Iterator[str]:
    bare = layout.table == "none" and len(layout.partitions) == 1
    yield _line("disk", "one volume, no partition table" if bare else _table(layout))
    for part in [] if bare else layout.partitions:
        chosen = found.chosen is not None and part == found.chosen.partition
        yield _line("", _partition(part) + ("  <- this one" if chosen else ""))
    for remark in layout.remarks:
        yield _line("", f"note: {remark}")


def _table(layout: Layout) -> str:
    if layout.table == "none":
        return "no partition table, and no volume that is known"
    count = len(layout.partitions)
    return f"{layout.table} partition table, {count} partition{'' if count == 1 else 's'}"


def _partition(part: Partition) -> str:
    name = f' "{printable(part.name)}"' if part.name else ""
    return f"{part.number}: {part.role}{name}, {_bytes(part.size_bytes)} from byte {part.start}"


def _bitlocker_lines(found: Survey, metadata: Metadata) -> Iterator[str]:
    to_go = " To Go" if metadata.to_go else ""
    sectors = f"sectors of {metadata.sector_size} bytes"
    yield _line("BitLocker", f"{metadata.state}, {metadata.cipher_name}{to_go}, {sectors}")
    description = f', "{printable(metadata.description)}"' if metadata.description else ""
    yield _line("identifier", f"{metadata.volume_guid}{description}")
    yield _line("metadata", f"copy {metadata.copy_used} of {len(found.copies)} is used")
    for number, problem in enumerate(found.copies, 1):
        if problem is not None:
            offset = metadata.metadata_offsets[number - 1]
            yield _line("", f"copy {number} at byte {offset} is not sound: {problem}")
    for protector in metadata.protectors:
        name = f' "{printable(protector.name)}"' if protector.name else ""
        yield _line("protector", f"{protector.kind} {protector.guid}{name}")
    if not metadata.protectors:
        yield _line("protector", "none")
    if found.opened_by is not None:
        yield _line("opened by", found.opened_by + _suspended(found.opened_by))
    elif found.error is None:
        kinds = " or ".join(f"a {kind}" for kind in keys_that_open(metadata))
        yield _line("opened by", f"nothing: no key is given. Give {kinds} with --key-file.")


def _suspended(opened_by: str) -> str:
    return ": protection is suspended, anybody can read the drive" if opened_by == "clear key" else ""


def _ntfs_lines(found: Survey, geometry: Geometry) -> Iterator[str]:
    ntfs = found.ntfs
    version = "NTFS {}.{}, ".format(*ntfs.version) if ntfs is not None else "NTFS, "
    label = f'label "{printable(ntfs.label)}", ' if ntfs is not None and ntfs.label else ""
    yield _line(
        "filesystem", f"{version}{label}serial {geometry.serial:016X}, {_bytes(geometry.volume_bytes)}"
    )
    sizes = f"clusters of {geometry.cluster_size}, MFT records of {geometry.record_size}"
    yield _line("sizes", f"{sizes}, sectors of {geometry.sector_size} bytes")
    if found.boot_problem is not None:
        yield _line("", f"the first boot sector is damaged, its backup is used: {found.boot_problem}")
    if found.record_count is not None:
        yield _line("MFT records", str(found.record_count))
    if ntfs is not None:
        yield _line("state", _state(ntfs))


def _state(ntfs: NtfsVolume) -> str:
    told = []
    if ntfs.is_dirty:
        told.append("dirty: Windows did not finish with it; chkdsk on the source mends that")
    if ntfs.is_hibernated:
        told.append("hibernated: Windows sleeps on it, and its last writes may be missing")
    if ntfs.is_log_open:
        told.append("not dismounted: its newest files and changes may be missing")
    return "; ".join(told) or "clean"


def _bytes(count: int) -> str:
    return f"{count} bytes ({size(count)})" if count >= 1000 else f"{count} bytes"


def _line(label: str, text: str) -> str:
    return f"{label:<{_LABEL_WIDTH}}{text}"
