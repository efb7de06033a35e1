"""JSON that people hand in, read field by field, with complaints that name the field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from agent.errors import MalformedInput

MAX_REQUEST_BYTES = 1 << 20


class Fields:
    """A JSON object whose complaints say where in the request it stands: all raise MalformedInput."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise MalformedInput(f"{where or 'the request'}: is not a JSON object")
        self._values = value
        self._where = where

    def path(self, key: str) -> str:
        """The field's full name."""
        return f"{self._where}.{key}" if self._where else key

    def child(self, key: str) -> Fields:
        """An object that must be there."""
        if key not in self._values:
            raise MalformedInput(f"{self.path(key)}: is missing")
        return Fields(self._values[key], self.path(key))

    def children(self, key: str, at_most: int) -> list[Fields]:
        """A list of objects; absent is empty."""
        value = self._values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise MalformedInput(f"{self.path(key)}: is not a list")
        if len(value) > at_most:
            raise MalformedInput(
                f"{self.path(key)}: holds {len(value)} entries, at most {at_most} are allowed"
            )
        return [Fields(one, f"{self.path(key)}[{place}]") for place, one in enumerate(value)]

    def text(self, key: str) -> str:
        """A string; absent, null and empty are all empty."""
        value = self._values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise MalformedInput(f"{self.path(key)}: is not a string")
        if any("\ud800" <= ch <= "\udfff" for ch in value):
            raise MalformedInput(f"{self.path(key)}: holds half a character (a lone surrogate)")
        return value

    def maybe(self, key: str) -> Fields | None:
        """An object; None when it is absent or null."""
        value = self._values.get(key)
        return None if value is None else Fields(value, self.path(key))

    def gives(self, key: str) -> bool:
        """Whether it is there and not null."""
        return self._values.get(key) is not None

    def number(self, key: str, at_most: int) -> int | None:
        """A whole number from 0 on; None when it is absent or null."""
        value = self._values.get(key)
        if value is None:
            return None
        # To JSON 3.0 is the whole number 3.
        is_whole = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= at_most
        if not is_whole or value != int(value):
            raise MalformedInput(f"{self.path(key)}: is no whole number from 0 to {at_most}")
        return int(value)

    def texts(self, key: str, at_most: int) -> dict[str, str] | None:
        """An object of strings, as tags are; None when it is absent or null."""
        found = self.maybe(key)
        if found is None:
            return None
        if len(found._values) > at_most:
            raise MalformedInput(
                f"{self.path(key)}: holds {len(found._values)} entries, at most {at_most} are allowed"
            )
        return {name: found.text(name) for name in found._values}

    def flag(self, key: str, *, default: bool = False) -> bool:
        """True or false; absent and null are ``default``."""
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise MalformedInput(f"{self.path(key)}: is neither true nor false")
        return value

    @contextmanager
    def at(self, key: str) -> Iterator[None]:
        """Puts the field's name before a complaint that arises inside."""
        try:
            yield
        except MalformedInput as error:
            raise MalformedInput(f"{self.path(key)}: {error.detail}") from None


def load_object(data: bytes) -> Fields:
    """A JSON object in UTF-8 of at most 1 MiB; raises MalformedInput that shows none of its values."""
    if len(data) > MAX_REQUEST_BYTES:
        raise MalformedInput(f"the request has {len(data)} bytes, at most {MAX_REQUEST_BYTES} are allowed")
    try:
        return Fields(json.loads(data.decode("utf-8-sig")), "")
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8"
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno} column {error.colno}: {error.msg}"
    except RecursionError:
        problem = "it is nested too deeply"
    except ValueError:
        problem = "it holds a number that is too long"
    # Raised out here: the errors above hold the request's text, and with it the keys.
    raise MalformedInput(f"the request is not JSON: {problem}")
