"""How many times each byte is copied on its way through our processes, and why; told with the benchmark.

What is said here follows from ``agent.volume.direct``, ``agent.volume.bitlocker.ciphers``,
``agent.transfer.ring`` and ``agent.blobs.wire.connection``.
"""

from __future__ import annotations

from agent.blobs.wire.connection import JOIN_BYTES
from agent.transfer.ring import SLOT_BYTES

COPIES_HEAD = ("step", "copies", "why")

COPIES = (
    ("drive → ring slot (a device)", "0", "O_DIRECT: the drive writes into the ring by itself"),
    ("image file → ring slot", "1", "the kernel copies out of its page cache; every benchmark pays it here"),
    ("BitLocker → plain", "2", "XOR with the tweak into scratch, AES within it, XOR back into the slot"),
    ("reader → uploader", "0", "both processes map the ring"),
    ("CRC-64, MD5, SHA-256", "0", "they read the slot where it is"),
    (
        f"head and body joined (TLS, ≤ {JOIN_BYTES >> 10} KiB)",
        "1",
        "one record and one call for a small blob",
    ),
    ("TLS", "1", "OpenSSL encrypts out of the slot into its record"),
    ("→ socket", "1", "the kernel copies what is sent (no kernel TLS, no zero-copy send)"),
)
COPIES_NOTE = (
    f"From a BitLocker image over TLS a byte is written 5 times (6 in a small blob), from a device 4 times; "
    f"from an unencrypted device in the clear once. Slots are of {SLOT_BYTES >> 10} KiB. A file that does "
    "not begin or end with a sector goes through a buffer there, with one copy more of that sector."
)
