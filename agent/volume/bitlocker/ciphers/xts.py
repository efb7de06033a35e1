"""AES-XTS (IEEE 1619), 128 and 256 bits, many sectors at a time.

The tweaks of a window are made first; the data itself costs two XORs and one AES-ECB pass.
"""

from __future__ import annotations

from contextvars import Context

import numpy as np

from agent.volume.bitlocker.ciphers.sector_cipher import EcbPass, Lanes, padded, windows
from agent.volume.bitlocker.ciphers.tweaks import Tweaks

WINDOW_BYTES = 1024 * 1024

_BUFFER_ITEMS = 512
"""NumPy's iteration buffer. Longer than a row, and passes over rows that lie apart take three times as
long (measured with NumPy 2.4)."""


class XtsCipher:
    """``key`` is the data key followed by the tweak key, 16 or 32 bytes each."""

    def __init__(self, key: bytes, sector_size: int) -> None:
        self.sector_size = sector_size
        self._lanes = Lanes(lambda: _XtsLane(key, sector_size))

    def decrypt(self, offset: int, buffer: memoryview) -> None:
        with self._lanes.lend() as lane:
            for start, window in windows(offset, buffer, self.sector_size, WINDOW_BYTES):
                lane.decrypt(start // self.sector_size, window)

    def __repr__(self) -> str:
        return f"XtsCipher(sector_size={self.sector_size}, key=***)"


class _XtsLane:
    """The scratch of one caller: about four windows of memory."""

    def __init__(self, key: bytes, sector_size: int) -> None:
        half = len(key) // 2
        self._data_pass = EcbPass(key[:half], decrypt=True)
        self._tweaks = Tweaks(key[half:], sector_size, WINDOW_BYTES)
        self._work = padded(WINDOW_BYTES)
        self._context = Context()
        self._context.run(np.setbufsize, _BUFFER_ITEMS)

    def decrypt(self, sector_number: int, window: memoryview) -> None:
        self._context.run(self._decrypt, sector_number, window)

    def _decrypt(self, sector_number: int, window: memoryview) -> None:
        data = np.frombuffer(window, "<u8")
        tweaks = self._tweaks.of(sector_number, len(window))
        work = self._work[: len(window)]
        words = work.view("<u8")
        np.bitwise_xor(data, tweaks, words)
        self._data_pass.run(work, self._work)
        np.bitwise_xor(words, tweaks, data)
