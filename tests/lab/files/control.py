#!/usr/bin/python3
"""In the guest: takes requests of the laboratory from a virtio-serial port, a JSON object a line.

    {"id": 1, "sh": "lsblk", "timeout": 30}                    {"id": 1, "code": 0, "out": "…", "err": ""}
    {"id": 2, "put": "/path", "data": "BASE64", "mode": 420}   {"id": 2, "code": 0}
    {"id": 3, "get": "/path"}                                  {"id": 3, "code": 0, "data": "BASE64"}

A request that hangs, such as one that reads a dead drive, holds up no other. The standard library only.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

TIMED_OUT, BROKEN = 124, 125
WRITE_BYTES = 32768


def main(port: str) -> None:
    fd = os.open(port, os.O_RDWR)
    guard = threading.Lock()

    def send(said: dict[str, Any]) -> None:
        line = memoryview(json.dumps(said).encode() + b"\n")
        with guard:
            while line:
                line = line[os.write(fd, line[:WRITE_BYTES]) :]

    def serve(request: dict[str, Any]) -> None:
        try:
            said = answer(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the laboratory waits for it
            said = {"code": BROKEN, "err": repr(error)}
        send({"id": request.get("id"), **said})

    send({"hello": os.uname().release})
    for line in lines(fd):
        threading.Thread(target=serve, args=(json.loads(line),), daemon=True).start()


def lines(fd: int) -> Iterator[bytes]:
    pending = b""
    while True:
        piece = os.read(fd, 65536)
        if not piece:  # nobody is at the other end
            time.sleep(0.2)
        *whole, pending = (pending + piece).split(b"\n")
        yield from filter(None, whole)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    if "sh" in request:
        return run(request["sh"], request["timeout"])
    if "put" in request:
        return put(request)
    with open(request["get"], "rb") as file:
        return {"code": 0, "data": base64.b64encode(file.read()).decode("ascii")}


def run(command: str, timeout_s: float) -> dict[str, Any]:
    try:
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return {"code": TIMED_OUT, "out": text(late.stdout), "err": text(late.stderr) + "ended: too late"}
    return {"code": done.returncode, "out": text(done.stdout), "err": text(done.stderr)}


def text(said: bytes | None) -> str:
    return (said or b"").decode("utf-8", "replace")


def put(request: dict[str, Any]) -> dict[str, Any]:
    os.makedirs(os.path.dirname(request["put"]) or "/", exist_ok=True)
    with open(request["put"], "ab" if request["append"] else "wb") as file:
        file.write(base64.b64decode(request["data"]))
    os.chmod(request["put"], request["mode"])
    return {"code": 0}


if __name__ == "__main__":
    main(sys.argv[1])
