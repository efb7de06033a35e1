"""AES-CBC, 128 and 256 bits, many sectors at a time.

Each sector is chained by itself; its IV is its byte offset on the volume, encrypted with the volume
key. Decryption needs no order: one AES-ECB pass over all blocks, then each is XORed with the
ciphertext block before it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agent.volume.bitlocker.ciphers.sector_cipher import (
    BLOCK_BYTES,
    WINDOW_BYTES,
    EcbPass,
    Lanes,
    Words,
    padded,
    windows,
)


class CbcCipher:
    """``key`` is an AES key of 16 or 32 bytes."""

    def __init__(self, key: bytes, sector_size: int) -> None:
        self.sector_size = sector_size
        self._lanes = Lanes(lambda: CbcLane(key, sector_size, WINDOW_BYTES))

    def decrypt(self, offset: int, buffer: memoryview) -> None:
        with self._lanes.lend() as lane:
            for start, window in windows(offset, buffer, self.sector_size, WINDOW_BYTES):
                plain = lane.decrypt(start, window)
                np.copyto(np.frombuffer(window, np.uint8), plain)

    def __repr__(self) -> str:
        return f"CbcCipher(sector_size={self.sector_size}, key=***)"


class CbcLane:
    """The scratch of one caller: about one window of memory."""

    def __init__(self, key: bytes, sector_size: int, window_bytes: int) -> None:
        self._data_pass = EcbPass(key, decrypt=True)
        self._iv_pass = EcbPass(key, decrypt=False)
        self._sector_size = sector_size
        sectors = window_bytes // sector_size
        self._offsets = np.zeros((sectors, 2), "<u8")
        self._ivs = padded(sectors * BLOCK_BYTES)
        self._work = padded(window_bytes)

    def decrypt(self, offset: int, window: memoryview) -> npt.NDArray[np.uint8]:
        """The plaintext, in a buffer of this lane that the next call overwrites."""
        work = self._work[: len(window)]
        cipher_words, words = np.frombuffer(window, "<u8"), work.view("<u8")
        self._data_pass.run(cipher_words, self._work)
        # In one pass over all, as if the window were one chain, and then the sectors are cut apart.
        np.bitwise_xor(words[2:], cipher_words[:-2], words[2:])
        sectors = words.reshape(-1, self._sector_size // 8)
        ivs = self._window_ivs(offset, len(sectors))
        ends = cipher_words.reshape(sectors.shape)[:-1, -2:]
        np.bitwise_xor(ivs[1:], ends, ivs[1:])
        np.bitwise_xor(sectors[:, :2], ivs, sectors[:, :2])
        return work

    def _window_ivs(self, offset: int, sectors: int) -> Words:
        offsets = self._offsets[:sectors]
        end = offset + sectors * self._sector_size
        offsets[:, 0] = np.arange(offset, end, self._sector_size, dtype=np.uint64)
        self._iv_pass.run(offsets, self._ivs)
        return self._ivs[: sectors * BLOCK_BYTES].view("<u8").reshape(sectors, 2)
