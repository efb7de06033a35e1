"""The parser of answers: by the letter, within bounds, and never out of its depth."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from agent.blobs.wire import answer as bounds
from agent.blobs.wire.answer import Answer, Incoming
from agent.blobs.wire.trouble import BadAnswer, BrokenOff, NoAnswer, WireTrouble

CREATED = (
    b"HTTP/1.1 201 Created\r\n"
    b"Content-Length: 0\r\n"
    b"Server: Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0\r\n"
    b"x-ms-request-id: 6f4a0c9e-001e-0000-0000-00000000002a\r\n"
    b"x-ms-content-crc64: dGVzdHRlc3Q=\r\n"
    b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n"
)
REFUSED = b"HTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<Code\r\n1\r\n>\r\n0\r\n\r\n"
PLAIN = b"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy"


class Stream:
    """Gives ``data`` in pieces of the lengths that ``length`` says, then nothing for ever."""

    def __init__(self, data: bytes, length: Callable[[], int] = lambda: 1 << 20) -> None:
        self.left, self._length, self.calls = data, length, 0

    def __call__(self, count: int) -> bytes:
        self.calls += 1
        assert self.calls < 200_000
        size = min(count, max(1, self._length()))
        piece, self.left = self.left[:size], self.left[size:]
        return piece


def read(data: bytes) -> Answer:
    return Incoming(Stream(data)).answer()


def test_an_answer_of_the_service_is_read() -> None:
    found = read(CREATED)
    assert (found.status, found.body, found.is_last) == (201, b"", False)
    assert found.headers["x-ms-content-crc64"] == "dGVzdHRlc3Q="
    assert found.headers["server"] == "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0"


def test_answers_follow_each_other_on_one_connection() -> None:
    incoming = Incoming(Stream(CREATED + REFUSED + PLAIN, lambda: 7))
    found = [incoming.answer() for _ in range(3)]
    assert [(each.status, each.body) for each in found] == [(201, b""), (409, b"<Code>"), (503, b"busy")]
    assert incoming.is_empty
    with pytest.raises(NoAnswer):
        incoming.answer()


@pytest.mark.parametrize("seed", range(20))
def test_pieces_of_any_length_make_the_same_answers(seed: int) -> None:
    lengths = random.Random(seed)
    incoming = Incoming(Stream(CREATED + REFUSED + PLAIN, lambda: lengths.choice([1, 2, 3, 30])))
    assert [incoming.answer() for _ in range(3)] == [read(CREATED), read(REFUSED), read(PLAIN)]


@pytest.mark.parametrize(
    ("answer", "is_last"),
    [
        (b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 201\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 204 \r\n\r\n", False),
        (b"HTTP/1.1 201 C\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.0 201 C\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.0 201 C\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 201 C\r\n\r\n", True),
    ],
)
def test_an_answer_says_whether_the_connection_goes_on(answer: bytes, is_last: bool) -> None:
    assert read(answer).is_last is is_last


@pytest.mark.parametrize(
    "answer",
    [
        b"\r\n\r\n",
        b"HTTP/2 201 Created\r\n\r\n",
        b"HTTP/1.1 2 Created\r\n\r\n",
        b"HTTP/1.1 999 Created\r\n\r\n",
        b"HTTP/1.1 201Created\r\n\r\n",
        b"http/1.1 201 Created\r\n\r\n",
        b"HTTP/1.1 201 Cre\nated\r\n\r\n",
        b"HTTP/1.1 201 Created\n\n\r\n\r\n",
        b"HTTP/1.1 201 Created\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nname : x\r\n\r\n",
        b"HTTP/1.1 201 Created\r\n: x\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nname: a\rb\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nname: a\0b\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nn\xc3\xa4me: a\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 0x10\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 1 1\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 201 Created\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 9000,
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 101,
    ],
)
def test_an_answer_that_is_not_by_the_letter_is_refused(answer: bytes) -> None:
    with pytest.raises(BadAnswer):
        read(answer)


def test_an_endless_head_is_given_up_at_its_bound() -> None:
    stream = Stream(b"HTTP/1.1 201 Created\r\n" + b"x: y\r\n" * 100_000)
    with pytest.raises(BadAnswer, match="longer than 32768 bytes"):
        Incoming(stream).answer()
    assert stream.calls <= bounds.MAX_HEAD_BYTES // bounds.RECEIVE_BYTES + 1


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 900000\r\n\r\n" + b"x" * 900_000,
        b"Connection: close\r\n\r\n" + b"x" * 900_000,
        b"Transfer-Encoding: chunked\r\n\r\nDBBA0\r\n" + b"x" * 900_000,
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100_000,
    ],
    ids=["length", "to the end", "chunk", "chunks"],
)
def test_of_an_endless_body_so_much_is_read_as_its_bound(framing: bytes) -> None:
    found = read(b"HTTP/1.1 500 Oh\r\n" + framing)
    assert (found.body, found.is_last) == (b"x" * bounds.MAX_BODY_BYTES, True)


@pytest.mark.parametrize("whole", [CREATED, REFUSED, PLAIN], ids=["head", "chunked", "length"])
def test_an_answer_cut_anywhere_is_told_from_none(whole: bytes) -> None:
    with pytest.raises(NoAnswer):
        read(b"")
    for end in range(1, len(whole)):
        with pytest.raises(BrokenOff):
            read(whole[:end])


def test_a_hundred_of_equal_headers_are_as_one() -> None:
    found = read(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n" + b"Via: a\r\nVia: b\r\n" * 40 + b"\r\n")
    assert found.headers["via"].startswith("a, b")


@pytest.mark.parametrize("seed", range(40))
def test_mutations_of_answers_end_in_an_answer_or_in_trouble(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        data = bytearray(chance.choice([CREATED, REFUSED, PLAIN]) + chance.choice([b"", CREATED]))
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(data))
            match chance.randrange(5):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randint(1, 20)]
                case 2:
                    data[at:at] = chance.choice(
                        [b"\r\n", b"\r\n\r\n", b":", b"0", b"\0", b"9" * 30, b" " * 500]
                    )
                case 3:
                    data[at:at] = data[: chance.randrange(len(data) + 1)]
                case _:
                    data[at : at + 1] = bytes(chance.randrange(256) for _ in range(4))
            data = data or bytearray(b"\r")
        found, trouble = everything_read(Stream(bytes(data), lambda: chance.choice([1, 5, 50, 5000])))
        assert trouble is None or "\n" not in trouble.why
        for each in found:
            assert 200 <= each.status <= 599
            assert len(each.body) <= bounds.MAX_BODY_BYTES
            assert all(name == name.lower() for name in each.headers)
            assert not any(mark in value for value in each.headers.values() for mark in "\r\n\0")


def everything_read(stream: Stream) -> tuple[list[Answer], WireTrouble | None]:
    """The answers up to the last one, or up to a trouble; any other error is the parser's fault."""
    incoming = Incoming(stream)
    found: list[Answer] = []
    try:
        while not found or not found[-1].is_last:
            found.append(incoming.answer())
    except WireTrouble as trouble:
        return found, trouble
    return found, None
