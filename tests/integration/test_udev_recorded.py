"""Runs recorded_drives.py in a process that sees devices which are not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.umockdev import WRAPPER

WAIT_S = 300


@pytest.mark.skipif(WRAPPER is None, reason="umockdev-wrapper is not installed (Debian: umockdev)")
def test_a_recorded_drive_is_seen_through_udev() -> None:
    done = subprocess.run(
        [
            *(str(WRAPPER), sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            str(Path(__file__).with_name("recorded_drives.py")),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
