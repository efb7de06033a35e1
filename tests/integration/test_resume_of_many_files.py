"""A real run over many small files, killed at half, and the run after it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.drives_images import many_files
from benchmarks.resume_run import watched

FILES = 6000
STRAGGLERS = 64
"""Blobs that lie behind many which nobody has sent: they are met only when they are sent."""


def test_blobs_that_the_journal_missed_are_not_sent_again(tmp_path: Path) -> None:
    with watched(tmp_path, many_files(tmp_path, FILES)) as one:
        # It raises when the store has not all files at the end.
        found = one.resume(0.5)
    assert FILES // 2 <= found.written < FILES
    assert found.again <= STRAGGLERS
    assert found.under_way_again <= found.under_way
