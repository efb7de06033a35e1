"""Streams on their way through the scratch file of `volume hash`."""

from __future__ import annotations

import json

import pytest

from agent.cli.volume_lines import Listed, ToRead, listed
from agent.volume.ntfs import Entry, StreamKind, StreamRef

STREAMS = (
    StreamRef(40, 1, "", StreamKind.PLAIN, 9000, 8000, 0, ((4096, 4096), (1 << 45, 8192)), None, 4096),
    StreamRef(41, 2, "", StreamKind.SPARSE, 1 << 40, 5, 0, ((None, 1 << 40),), None, 0),
    StreamRef(42, 65535, "s\ud800 ü", StreamKind.RESIDENT, 5, 5, 0, (), None, 1 << 40),
    StreamRef(43, 1, "", StreamKind.WOF, 9, 9, 4096, ((4096, 4096),), None, 4096, 5),
)


PATHS = (("a\udfff", "b.txt"), ("other", 'quoted "name"'))


def _listed(stream: StreamRef) -> Listed:
    entries = [Entry(40, 1, path, False, 32, 0, 0, 0, 0, 2, False, (stream,), None, None) for path in PATHS]
    (only,) = listed(entries, metafiles=False)
    return only


@pytest.mark.parametrize("stream", STREAMS, ids=[each.kind.value for each in STREAMS])
def test_a_row_gives_back_the_stream_and_its_openings(stream: StreamRef) -> None:
    to_read = ToRead.of(_listed(stream))
    found = ToRead.from_row(to_read.to_row())
    assert found == to_read
    assert found.stream == stream
    assert found.stream.kind is stream.kind


@pytest.mark.parametrize("stream", STREAMS, ids=[each.kind.value for each in STREAMS])
def test_lines_that_are_ended_later_are_the_lines_that_are_written_at_once(stream: StreamRef) -> None:
    only = _listed(stream)
    lines = list(ToRead.from_row(ToRead.of(only).to_row()).lines(sha256="ab", error="torn"))
    assert lines == list(only.lines(sha256="ab", error="torn"))
    assert [json.loads(line)["path"] for line in lines] == [
        "/".join(path) + (f":{stream.name}" if stream.name else "") for path in PATHS
    ]
