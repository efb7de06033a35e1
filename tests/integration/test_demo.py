"""The README's first command, against a real Azurite."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def test_the_demo_ends_as_planted_and_can_be_run_twice(tmp_path: Path, azurite_endpoint: str) -> None:
    assert azurite_endpoint, "the demo is to run on Azurite, not on its fallback"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "fixtures.demo"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "byte for byte" in done.stdout
        assert "NOT AS PLANTED" not in done.stdout
        assert "no Azurite" not in done.stdout
