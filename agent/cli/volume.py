"""``ingest-agent volume``: look into a drive by hand, without a job and without a store."""

from __future__ import annotations

import gc
import hashlib
import json
import sys
from collections.abc import Iterator

import click

from agent.cli.context import json_option
from agent.cli.volume_decrypt import write_plain
from agent.cli.volume_hash import MAX_STREAM_BYTES, Hashed, Hasher, unreadable_ranges
from agent.cli.volume_info import survey_lines, survey_to_json
from agent.cli.volume_lines import Listed, listed
from agent.cli.volume_print import Printer
from agent.cli.volume_sort import Sorter
from agent.cli.volume_source import Bench, Origin, on_bench, takes_source
from agent.cli.volume_survey import survey
from agent.errors import MalformedInput, UnreadableSectors
from agent.volume.losses import lost_ranges, on_volume
from agent.volume.ntfs import NtfsVolume
from agent.volume.opening import PlainVolume, open_filesystem, open_plain

SHA256_OF_NOTHING = hashlib.sha256().hexdigest()

metafiles_option = click.option(
    "--metafiles", is_flag=True, help="Also NTFS's own files: $MFT, $LogFile, what is in $Extend."
)


@click.group()
def volume() -> None:
    """Look into a drive by hand: what it is, what is on it, what its bytes are.

    SOURCE is a disk image or a block device, with a partition table or as one bare volume. It is opened
    read-only; nothing is mounted and no job is needed. Of a disk, the first data volume is taken, as a
    job takes it.
    """


@volume.command()
@takes_source
@json_option
@click.option("-v", "--verbose", is_flag=True, help="Also tell how this process is confined.")
def info(origin: Origin, as_json: bool, verbose: bool) -> None:
    """Tell what SOURCE is: partitions, BitLocker and its protectors, NTFS and its state.

    Goes as far as it can and says where it ended. Without a key, that is at the lock of an encrypted
    volume, and no error.
    """
    with on_bench(origin) as bench:
        found = survey(bench)
        if as_json:
            click.echo(json.dumps(survey_to_json(bench, found), indent=2))
        else:
            click.echo("\n".join(survey_lines(bench, found, verbose=verbose)))
    if found.error is not None:
        sys.stdout.flush()
        raise found.error


@volume.command(name="list")
@takes_source
@metafiles_option
def list_files(origin: Origin, metafiles: bool) -> None:
    """List files and streams of SOURCE, one JSON line a name, in the order of the file table.

    docs/volumes.md tells the fields. Exit code 4 when something of the listing is damaged; its lines say
    what.
    """
    _collect_rarely()
    with on_bench(origin, scratch_files=1) as bench:
        plain = _open(bench)
        printer = Printer()
        for each in _listed(bench, open_filesystem(plain), metafiles):
            if each.is_damaged:
                printer.missed(each, "damaged")
            else:
                printer.line(each)
        printer.end()


@volume.command(name="hash")
@takes_source
@metafiles_option
def hash_files(origin: Origin, metafiles: bool) -> None:
    """Read all files and streams of SOURCE and print their lines with "sha256".

    In the order in which they lie on the drive, each as soon as it is done. What cannot be read has
    "error" in place of "sha256", and the exit code is 4.
    """
    _collect_rarely()
    with on_bench(origin, scratch_files=2) as bench:
        plain = _open(bench)
        ntfs = open_filesystem(plain)
        hasher = Hasher(ntfs, plain.source, Sorter(bench.scratch[1]), is_device=bench.is_device)
        printer = Printer()
        for each in _listed(bench, ntfs, metafiles):
            _sort_out(each, hasher, printer)
        for done in hasher.run():
            if done.error is None:
                printer.line(done.read, sha256=done.sha256)
            else:
                _tell_failed(bench, plain, ntfs, printer, done)
        printer.end()


@volume.command()
@takes_source
def decrypt(origin: Origin) -> None:
    """Write the plain bytes of SOURCE's first data volume to standard output.

    Whatever filesystem is in it. Stops at the first sector that cannot be read: image such a drive with
    ddrescue first, and decrypt the image.
    """
    if sys.stdout.isatty():
        raise MalformedInput("standard output is a terminal; redirect it to a file or a pipe")
    with on_bench(origin) as bench:
        write_plain(_open(bench).source, sys.stdout.fileno())


def _collect_rarely() -> None:
    """Many small values are made for each file and none of them in a cycle; to look for cycles as often as
    Python does takes a fifth of all time."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def _open(bench: Bench) -> PlainVolume:
    plain = open_plain(bench.drive, bench.credential)
    click.echo(f"reading: {plain.choice}; {plain.protection}", err=True)
    return plain


def _listed(bench: Bench, ntfs: NtfsVolume, metafiles: bool) -> Iterator[Listed]:
    """Damage may be that the drive is gone, which is told as such."""
    is_damaged = False
    for each in listed(ntfs.scan(bench.scratch[0]), metafiles=metafiles):
        is_damaged = is_damaged or each.is_damaged
        yield each
    if is_damaged:
        bench.must_have_answered()


def _sort_out(each: Listed, hasher: Hasher, printer: Printer) -> None:
    """What has bytes is hashed later; of the rest, all is known now."""
    if each.error is not None:
        printer.missed(each, "damaged" if each.is_damaged else "of an unsupported kind")
    elif each.stream is None:
        printer.line(each)
    elif each.stream.size > MAX_STREAM_BYTES:
        why = f"{each.stream.size} bytes are more than is hashed of one stream"
        printer.missed(each, "too large", error=why)
    elif each.stream.size == 0:
        printer.line(each, sha256=SHA256_OF_NOTHING)
    else:
        hasher.add(each)


def _tell_failed(bench: Bench, plain: PlainVolume, ntfs: NtfsVolume, printer: Printer, done: Hashed) -> None:
    """``unreadable`` are ranges of the drive, ``lost`` what they are of the stream."""
    assert done.error is not None
    if not isinstance(done.error, UnreadableSectors):
        printer.missed(done.read, "damaged", error=done.error.detail)
        return
    bench.must_answer()
    stream = done.read.stream
    assert stream is not None
    bad = unreadable_ranges(bench.drive.bad, plain.start, stream, ntfs.record_size)
    lost = lost_ranges(on_volume(bad, plain.placement), stream, ntfs.record_size)
    printer.missed(done.read, "unreadable", error=done.error.detail, unreadable=bad, lost=lost)
