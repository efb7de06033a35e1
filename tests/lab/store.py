"""What the laboratory keeps: a git-ignored folder of the checkout, and a lock that lets one of them run."""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.lab.drive import Drive

CHECKOUT: Final = Path(__file__).parents[2]
STORE: Final = CHECKOUT / ".lab"
LOCK: Final = Path(tempfile.gettempdir()) / "drive-ingest-lab.lock"
KEPT: Final = 2
"""Of each kind, the newest: a system is 0.5 GiB, a saved state 0.3."""
_KEY_CHARS: Final = 16
_RUN: Final = "drive-ingest-lab-"
_MAKING: Final = "making-"


def digest(parts: Iterable[bytes]) -> str:
    """A key of these parts: no two lists of parts run together into the same bytes."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.hexdigest()[:_KEY_CHARS]


def key_of_saved(maker: bytes, deb: bytes, sources: Iterable[bytes], chassis: Sequence[Drive]) -> str:
    """The key of a saved machine: all that went into it, beginning with the very guest."""
    return digest([maker, deb, *sources, *(repr(drive).encode() for drive in chassis)])


def sources_with(prepare: Callable[..., object]) -> list[bytes]:
    """Files of which any may bear on a saved machine: the laboratory's own, and that of ``prepare``."""
    here = Path(__file__).parent
    own = {file for file in here.glob("*.py") if not file.name.startswith("scene")}
    own |= {file for file in here.glob("files/*") if file.is_file()}
    return [file.read_bytes() for file in sorted(own | {Path(inspect.getfile(prepare))})]


@contextmanager
def making(name: str) -> Iterator[Path]:
    """A folder that bears its name only once it was made whole; those of this kind that are old go."""
    STORE.mkdir(exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=_MAKING, dir=STORE))
    try:
        yield made
        os.rename(made, STORE / name)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    for old in superseded(name.split("-")[0]):
        shutil.rmtree(old, ignore_errors=True)


def superseded(kind: str) -> list[Path]:
    """Folders of a kind beyond those that are kept."""
    made = sorted(STORE.glob(f"{kind}-*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    return made[KEPT:]


@contextmanager
def locked() -> Iterator[None]:
    """Waits until no other laboratory runs on this machine: two guests are more than two cores bear.

    What killed ones left goes first: nobody else can be at it.
    """
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in [*LOCK.parent.glob(f"{_RUN}*"), *STORE.glob(f"{_MAKING}*")]:
            shutil.rmtree(left, ignore_errors=True)
        yield


@contextmanager
def run_folder() -> Iterator[Path]:
    """Of one machine, and gone with it. Its path is short: that of a socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix=_RUN, dir=LOCK.parent, ignore_cleanup_errors=True) as name:
        yield Path(name)
