"""Key bytes that must never be shown."""

from __future__ import annotations

from typing import NoReturn


class Key:
    """Key material and the method it is for; prints as ``***`` and cannot be pickled.

    ``method`` is the number stored beside the key (for a volume key, the cipher).
    """

    __slots__ = ("_material", "method")

    def __init__(self, material: bytes, method: int) -> None:
        self._material = material
        self.method = method

    def reveal(self) -> bytes:
        """The key itself. The one way out, so that a search for it finds every use."""
        return self._material

    def __len__(self) -> int:
        return len(self._material)

    def __repr__(self) -> str:
        return "Key(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Key is not pickled")
