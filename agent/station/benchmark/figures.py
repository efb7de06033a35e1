"""What was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent.errors import IngestError

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why something was not measured, as an error would say it; ``what`` it is of.

    ``exit_code`` is 0 for what is as it should be, such as a disk of the system.
    """

    what: str
    id: str
    side: str
    detail: str
    next_step: str = ""
    exit_code: int = 0

    @classmethod
    def of(cls, what: str, error: IngestError) -> Trouble:
        """What the error says."""
        return cls(what, error.id, str(error.side), error.detail, error.next_step, error.exit_code)

    def line(self) -> str:
        """One line: what, whose side, what next."""
        return f"{self.what}: {self.detail.rstrip('.')} [{self.side}: {self.id}]. {self.next_step}".rstrip()


@dataclass(frozen=True, slots=True)
class Reading:
    """One way of reading a drive for a while. ``cpu_s`` is what it took of a processor."""

    bytes: int
    reads: int
    seconds: float
    cpu_s: float = 0.0

    @property
    def bytes_per_s(self) -> float:
        """0 when nothing was read."""
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def reads_per_s(self) -> float:
        """As ``bytes_per_s``."""
        return self.reads / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class DriveFigures:
    """``first`` and ``last``: long reads where a drive is fastest and where it is slowest; ``scattered``:
    short ones, a little apart. Unless ``is_direct`` the system's cache had a part in it.
    """

    name: str
    bay: str
    size_bytes: int
    is_direct: bool
    first: Reading
    last: Reading
    scattered: Reading

    @property
    def bytes_per_s(self) -> float:
        """Of a full drive, from its first byte to its last."""
        rates = [each.bytes_per_s for each in (self.first, self.last) if each.bytes_per_s]
        return len(rates) / sum(1 / rate for rate in rates) if rates else 0.0


@dataclass(frozen=True, slots=True)
class DrivesFigures:
    """``together_bytes_per_s``: all of them at once; None unless there were several."""

    drives: tuple[DriveFigures, ...] = ()
    together_bytes_per_s: float | None = None
    troubles: tuple[Trouble, ...] = ()


class Work(StrEnum):
    """What costs processor time."""

    XTS_128 = "AES-XTS-128"
    XTS_256 = "AES-XTS-256"
    CBC_128 = "AES-CBC-128"
    DIFFUSER = "AES-CBC-128 with Elephant diffuser"
    CRC_64 = "CRC-64"
    MD5 = "MD5"
    SHA_256 = "SHA-256"
    TLS = "sending over TLS"


CIPHERS = (Work.XTS_128, Work.XTS_256, Work.CBC_128, Work.DIFFUSER)


@dataclass(frozen=True, slots=True)
class Speed:
    """Bytes for each second of processor time: of one core alone, and of all at once, added up."""

    one_core: float
    all_cores: float


@dataclass(frozen=True, slots=True)
class CpuFigures:
    """``cores`` that this process may use."""

    cores: int
    speeds: Mapping[Work, Speed] = field(default_factory=dict)
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """Blocks that were sent by so many requests at once; ``limited_by``: what they waited for."""

    connections: int
    bytes: int
    seconds: float
    cpu_s: float
    limited_by: str | None

    @property
    def bytes_per_s(self) -> float:
        """0 when nothing was sent."""
        return self.bytes / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """``blobs_per_s``: small ones. ``left``: what could not be removed again, empty when nothing."""

    address: str
    is_encrypted: bool
    rounds: tuple[Round, ...] = ()
    blobs_per_s: float = 0.0
    round_trip_s: float = 0.0
    bytes_put: int = 0
    blobs_put: int = 0
    throttled_requests: int = 0
    left: str = ""
    troubles: tuple[Trouble, ...] = ()

    @property
    def is_remote(self) -> bool:
        """Whether a line leads to it; a folder has none."""
        return "://" in self.address

    @property
    def best(self) -> Round | None:
        """The fastest round."""
        return max(self.rounds, key=lambda each: each.bytes_per_s, default=None)
