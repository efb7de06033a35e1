"""The machine that a benchmark ran on, as lines for its table."""

from __future__ import annotations

import hashlib
import os
import platform
import ssl
import time
from pathlib import Path

_SAMPLE_BYTES = 64 << 20


def facts() -> dict[str, str]:
    """Name to value. ``SHA-256`` is what one core hashes, which all parties pay alike.

    ``OpenSSL`` is the one of Python, by which our party hashes and sends over TLS.
    """
    return {
        "processor": f"{processor()}, {len(os.sched_getaffinity(0))} cores for us",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "OpenSSL": ssl.OPENSSL_VERSION.split()[1],
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / (1 << 30):.0f} GiB",
        "SHA-256": f"{sha256_cpu_s():.2f} cpu-s/GB",
        "load before the run": f"{os.getloadavg()[0]:.1f}",
    }


def processor() -> str:
    """As /proc/cpuinfo names it."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, platform.machine())


def sha256_cpu_s() -> float:
    """Processor seconds for 10**9 bytes."""
    part = bytes(512 * 1024)
    digest, begun = hashlib.sha256(), time.thread_time()
    for _ in range(_SAMPLE_BYTES // len(part)):
        digest.update(part)
    return (time.thread_time() - begun) / _SAMPLE_BYTES * 1e9
