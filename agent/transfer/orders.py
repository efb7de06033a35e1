"""What the station hands to the uploader, through a pipe, never through argv."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from agent.model.access import Identity, IdentityKind
from agent.model.codes import Disposition, LogLevel
from agent.model.destination import Destination
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.secrets import Secret
from agent.model.treatment import AS_USUAL, Treatment


@dataclass(frozen=True, slots=True)
class StoreOrder:
    """Which store: ``azure`` with an endpoint and a credential or identity, or ``directory`` with a root."""

    kind: str
    address: str
    credential: Secret | None = None
    identity: Identity | None = None

    def to_json(self) -> list[Any]:
        """Holds the credential in the clear: for a pipe only."""
        identity = [self.identity.kind, self.identity.client_id] if self.identity else None
        return [self.kind, self.address, self.credential.reveal() if self.credential else None, identity]

    @classmethod
    def from_json(cls, value: list[Any]) -> Self:
        """What ``to_json`` gave."""
        kind, address, secret, identity = value
        return cls(
            kind,
            address,
            Secret(secret) if secret is not None else None,
            Identity(IdentityKind(identity[0]), identity[1]) if identity is not None else None,
        )


@dataclass(frozen=True, slots=True)
class UploadOrder:
    """For the uploader: what to do with the drive, and where to.

    ``filed`` tells the job from an earlier one of its name. ``journal`` is a file and ``spool`` a folder of
    this drive alone; ``board`` is the station's file of shared limits (see ``agent.transfer.board``), None:
    shared with nobody. ``give_up_after_s`` bounds how long an unreachable store is waited for before the
    transfer pauses. ``reader_pid`` is the process that reads, where it is one. ``log_folder`` in the
    container ``diagnostics`` is empty, or ends with a slash. ``gently`` is as in the reader's order.
    ``keep_free_bytes`` and ``most_state_bytes`` are of the disk that the journal lies on (see
    ``agent.transfer.room``).
    """

    job: JobName
    filed: str
    serial: SerialNumber
    manifest_file: str | None
    manifest_hash: str | None
    destination: Destination | None
    disposition: Disposition
    diagnostics: ContainerName
    log_level: LogLevel
    backup_manifest: bool
    upload_streams: bool
    store: StoreOrder
    journal: Path
    spool: Path
    slot_count: int
    connections: int
    block_bytes: int
    give_up_after_s: float
    treatment: Treatment = AS_USUAL
    board: Path | None = None
    keep_free_bytes: int = 0
    most_state_bytes: int | None = None
    reader_pid: int | None = None
    gently: bool = False
    log_folder: str = ""

    def journal_of(self, volume: str, state: str) -> dict[str, str]:
        """What a journal must have been begun for, to count.

        In a ``volume`` of another ``state`` files may lie elsewhere; in another store nothing is done; and
        what is noted of a file's blocks goes by their number.
        """
        return {
            "job": str(self.job),
            "filed": self.filed,
            "serial": self.serial.normal,
            "volume": volume,
            "state": state,
            "store": f"{self.store.kind} {self.store.address}",
            "manifest": f"{self.manifest_file or ''} {self.manifest_hash or ''}",
            "destination": str(self.destination or ""),
            "disposition": self.disposition,
            "streams": str(self.upload_streams),
            "block": str(self.block_bytes),
        }

    def to_json(self) -> dict[str, Any]:
        """Holds the store's credential in the clear: for a pipe only."""
        return {
            "job": str(self.job),
            "filed": self.filed,
            "serial": self.serial.shown,
            "manifest_file": self.manifest_file,
            "manifest_hash": self.manifest_hash,
            "destination": str(self.destination) if self.destination else None,
            "disposition": self.disposition,
            "diagnostics": str(self.diagnostics),
            "log_level": self.log_level,
            "backup_manifest": self.backup_manifest,
            "upload_streams": self.upload_streams,
            "store": self.store.to_json(),
            "journal": str(self.journal),
            "spool": str(self.spool),
            "slot_count": self.slot_count,
            "connections": self.connections,
            "block_bytes": self.block_bytes,
            "give_up_after_s": self.give_up_after_s,
            "treatment": self.treatment.to_json(),
            "board": str(self.board) if self.board else None,
            "keep_free_bytes": self.keep_free_bytes,
            "most_state_bytes": self.most_state_bytes,
            "reader_pid": self.reader_pid,
            "gently": self.gently,
            "log_folder": self.log_folder,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What ``to_json`` gave."""
        return cls(
            job=JobName.parse(value["job"]),
            filed=value["filed"],
            serial=SerialNumber.parse(value["serial"]),
            manifest_file=value["manifest_file"],
            manifest_hash=value["manifest_hash"],
            destination=Destination.parse(value["destination"]) if value["destination"] else None,
            disposition=Disposition(value["disposition"]),
            diagnostics=ContainerName.parse(value["diagnostics"]),
            log_level=LogLevel(value["log_level"]),
            backup_manifest=value["backup_manifest"],
            upload_streams=value["upload_streams"],
            store=StoreOrder.from_json(value["store"]),
            journal=Path(value["journal"]),
            spool=Path(value["spool"]),
            slot_count=value["slot_count"],
            connections=value["connections"],
            block_bytes=value["block_bytes"],
            give_up_after_s=value["give_up_after_s"],
            treatment=Treatment.from_json(value["treatment"]),
            board=Path(value["board"]) if value["board"] else None,
            keep_free_bytes=value["keep_free_bytes"],
            most_state_bytes=value["most_state_bytes"],
            reader_pid=value["reader_pid"],
            gently=value["gently"],
            log_folder=value["log_folder"],
        )
