"""The figures of a resume, and the store that remembers what one asks for."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest

from benchmarks.resume_figures import Resume, Start, resume_verdicts, start_rows
from benchmarks.resume_server import serving
from benchmarks.resume_store import Put, RememberingStore

SLOW = Start("a drive", 4.0, 2.5, (("station", 0.5), ("reader", 1.0), ("uploader", 1.0)))
QUICK = Start("a drive", 1.5, 1.2, (("station", 0.4), ("reader", 0.8)))


def _put(name: str, begun: float, ended: float | None, size: int = 100) -> Put:
    return Put(f"bench/{name}", "blob", "", size, begun, ended)


def test_what_was_answered_before_the_kill_and_is_sent_again_counts() -> None:
    before = [_put("a", 0.0, 0.1), _put("b", 1.0, 1.4), _put("c", 1.9, 1.95)]
    after = [_put("b", 5.0, None), _put("c", 5.1, None), _put("d", 5.2, 5.3)]
    found = Resume.of("a drive", before, 2.0, after, QUICK)
    assert (found.written, found.again, found.again_bytes) == (3, 2, 200)
    assert found.oldest_s == pytest.approx(0.6)


def test_what_was_under_way_at_the_kill_may_be_sent_again() -> None:
    before = [_put("a", 0.0, 0.1), _put("broken off", 1.9, None), _put("landed after it", 1.9, 2.1)]
    after = [_put("broken off", 5.0, 5.1), _put("landed after it", 5.0, None)]
    found = Resume.of("a drive", before, 2.0, after, QUICK)
    assert (found.under_way, found.under_way_again, found.again) == (2, 2, 0)


def test_logs_are_no_part_of_the_drive() -> None:
    log = Put("waimportexport/log.xml", "blob", "", 9, 0.0, 0.1)
    found = Resume.of("a drive", [log], 2.0, [log], QUICK)
    assert (found.written, found.again) == (0, 0)


def test_blocks_of_one_blob_are_told_apart() -> None:
    first, second = (Put("bench/a", "block", name, 1, 0.0, 0.5) for name in ("AAAA", "AAAB"))
    assert Resume.of("a drive", [first], 2.0, [second], QUICK).again == 0


def test_verdicts_name_the_worst_round_and_the_median_time() -> None:
    clean = Resume("a drive", 9, 0, 0, 0, 0, 0.0, QUICK)
    again = Resume("a drive", 9, 0, 0, 3, 300, 0.25, SLOW)
    nothing, first_byte = resume_verdicts([clean, again, clean])
    assert nothing.endswith(
        "NOT MET by 3, answered at most 0.25 s before the kill and not yet in the journal"
    )
    assert first_byte.endswith("at most 3: 1.5, met")
    assert resume_verdicts([clean])[0].endswith("met")
    assert resume_verdicts([again, again])[1].endswith("4, NOT MET by 33%")


def test_a_row_of_starts_has_medians() -> None:
    assert start_rows([SLOW, QUICK, QUICK])[0] == ("a drive", "1.50", "1.20", "station 0.40, reader 0.80")


class _Client:
    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        self._account = parts.path

    def __call__(self, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, f"{self._account}/{target}", body or None, named)
        answer = self._connection.getresponse()
        self.headers = answer.headers
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()


def test_a_blob_is_put_once_and_keeps_its_metadata() -> None:
    store = RememberingStore()
    with serving(store) as endpoint:
        ask = _Client(endpoint)
        assert ask("HEAD", "bench/a%20b")[0] == 404
        put = {"If_None_Match": "*", "x_ms_meta_mark": "ours"}
        assert ask("PUT", "bench/a%20b", b"x" * 3_000_000, **put)[0] == 201
        assert ask("PUT", "bench/a%20b", b"x", **put)[0] == 409
        assert ask("HEAD", "bench/a%20b")[0] == 200
        assert (ask.headers["Content-Length"], ask.headers["x-ms-meta-mark"]) == ("3000000", "ours")
        ask.close()
    assert store.kept("bench") == (1, 3_000_000)
    assert [(put.path, put.ended is not None) for put in store.puts] == [
        ("bench/a b", True),
        ("bench/a b", False),
    ]


def test_blocks_are_listed_until_they_are_committed() -> None:
    store = RememberingStore()
    with serving(store) as endpoint:
        ask = _Client(endpoint)
        assert ask("GET", "bench/large?comp=blocklist")[0] == 404
        for name, size in (("AAAA", 5), ("AAAB", 7)):
            assert ask("PUT", f"bench/large?comp=block&blockid={name}", bytes(size))[0] == 201
        listed = ask("GET", "bench/large?comp=blocklist&blocklisttype=uncommitted")[1]
        assert b"<Name>AAAA</Name><Size>5</Size>" in listed
        assert b"<Name>AAAB</Name><Size>7</Size>" in listed
        assert ask("HEAD", "bench/large")[0] == 404
        body = b"<BlockList><Latest>AAAB</Latest><Latest>AAAA</Latest></BlockList>"
        assert ask("PUT", "bench/large?comp=blocklist", body)[0] == 201
        ask.close()
    assert store.kept("bench") == (1, 12)
    assert [put.verb for put in store.puts] == ["block", "block", "blocklist"]


def test_a_container_is_no_write_that_counts() -> None:
    store = RememberingStore()
    with serving(store) as endpoint:
        ask = _Client(endpoint)
        assert ask("PUT", "bench?restype=container")[0] == 201
        ask.close()
    assert store.puts == []
