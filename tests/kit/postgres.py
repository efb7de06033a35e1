"""A PostgreSQL server of the tests' own: on a Unix socket in a temporary folder, without a network."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDERS = "/usr/lib/postgresql"
"""Where Debian keeps what it does not put into the path; one folder a version."""
START_WITHIN_S = 60
GUARDED = "guarded"
"""A role that is let in with its password only, once a test has made it."""


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, of the newest version that is here."""
    found = sorted(Path(FOLDERS).glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).resolve().parent if there else None


class PostgresServer:
    """Run by an unprivileged user: the server refuses to be root's."""

    def __init__(self, binaries: Path, folder: Path, owner: str | None) -> None:
        self._binaries, self.folder, self._owner = binaries, folder, owner
        self._data = folder / "data"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run outside of a transaction; its rows, if it gives any."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description is not None else []

    def url(self, database: str = "postgres") -> str:
        """Of a catalog."""
        return f"postgresql://tester@/{database}?host={self.folder}"

    def make(self) -> None:
        """A new, empty server."""
        self._run("initdb", "-D", str(self._data), "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8")

        # Who is to prove himself, in tests of that; the first line that fits counts.
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"local all {GUARDED} scram-sha-256\n{rules.read_text()}")

    def start(self) -> None:
        """Until it answers."""
        # What survives a power cut is PostgreSQL's own concern: the tests restart it, they do not cut power.
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off -c max_connections=100"
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", str(START_WITHIN_S), "-o", options, "start")

    def stop(self, how: str = "fast") -> None:
        """``fast`` ends sessions, ``immediate`` is as a crash."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", how, "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), *arguments]
        log = self.folder / "log"
        if program == "pg_ctl" and arguments[-1] == "start":
            command[1:1] = ["-l", str(log)]
        done = subprocess.run(
            command,
            user=self._owner,
            group=pwd.getpwnam(self._owner).pw_gid if self._owner else None,
            extra_groups=[] if self._owner else None,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            timeout=START_WITHIN_S * 2,
            check=False,
        )
        if done.returncode:
            said = log.read_text("utf-8", "replace")[-2000:] if log.exists() else done.stderr
            raise AssertionError(f"{program} ended with {done.returncode}: {said!r}")


@contextmanager
def running(binaries: Path) -> Iterator[PostgresServer]:
    """One that ends with the block."""
    owner = "nobody" if os.geteuid() == 0 else None
    # The path of a socket has at most 107 bytes: pytest's own folders are too deep.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if owner is not None:
            found = pwd.getpwnam(owner)
            os.chown(folder, found.pw_uid, found.pw_gid)
        server = PostgresServer(binaries, folder, owner)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder)
