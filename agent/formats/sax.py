"""Hostile XML pushed in piece by piece: no tree, no DTD, no entities, everything bounded.

A handler sees only the elements it knows, in the places where it knows them; all others are skipped
with whatever they hold. Memory does not grow with the document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lxml import etree

from agent.errors import IngestError
from agent.formats.violation import Violation, clip

MAX_DEPTH = 32
MAX_TEXT_CHARS = 65_536


class Handler(Protocol):
    """What a format does with its elements. Any method may raise Violation or an IngestError."""

    secret_elements: frozenset[str]
    """Elements in whose presence a parse error must not quote the document."""

    def knows(self, parent: str, tag: str) -> bool:
        """Whether ``tag`` is understood within ``parent``; the root's parent is the empty string."""
        ...

    def start(self, parent: str, tag: str, attributes: Mapping[str, str]) -> None:
        """A known element begins."""
        ...

    def instruction(self, target: str, text: str) -> None:
        """A processing instruction stands here."""
        ...

    def end(self, parent: str, tag: str, text: str) -> None:
        """It ended; ``text`` is what it holds after its last child, at most MAX_TEXT_CHARS."""
        ...


class _Target:
    """lxml calls this for every event."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.path = [""]
        self._skipped_depth = 0
        self._text: list[str] = []
        self._text_chars = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if len(self.path) + self._skipped_depth > MAX_DEPTH:
            raise Violation(f"elements are nested more than {MAX_DEPTH} deep")
        parent = self.path[-1]
        if self._skipped_depth or not self._handler.knows(parent, tag):
            if not parent:
                raise Violation(f"the root element {clip(tag)} is not of this format")
            self._skipped_depth += 1
            return
        self.path.append(tag)
        self._clear()
        self._handler.start(parent, tag, attributes)

    def end(self, tag: str) -> None:
        if self._skipped_depth:
            self._skipped_depth -= 1
            return
        text = "".join(self._text)
        self._clear()
        self._handler.end(self.path[-2], tag, text)
        self.path.pop()

    def data(self, text: str) -> None:
        if self._skipped_depth:
            return
        self._text_chars += len(text)
        if self._text_chars > MAX_TEXT_CHARS:
            raise Violation(f"its text is longer than {MAX_TEXT_CHARS} characters")
        self._text.append(text)

    def pi(self, target: str, text: str | None = None) -> None:
        self._handler.instruction(target, text or "")

    def doctype(self, *_: Any) -> None:
        raise Violation("a document type declaration is not allowed")

    def close(self) -> None:
        return None

    def _clear(self) -> None:
        self._text.clear()
        self._text_chars = 0


class PushXml:
    """Feeds a handler. Every error is final: after it, each further call raises the same again."""

    def __init__(self, handler: Handler, malformed: Callable[[str], IngestError]) -> None:
        """``malformed`` makes the error for a broken rule out of a message naming line and element."""
        self._secret = handler.secret_elements
        self._target = _Target(handler)
        self._malformed = malformed
        target: Any = self._target
        self._parser: Any = etree.XMLParser(
            target=target,
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            dtd_validation=False,
            huge_tree=False,
        )
        self._newlines = 0
        self._failure: IngestError | None = None

    def feed(self, data: bytes | memoryview) -> None:
        """The next bytes of the document, in pieces of any size."""
        # lxml tells a target no position, so lines go in one by one; that costs under 1 us a line.
        for line in bytes(data).splitlines(keepends=True):
            self._guarded(self._parser.feed, line)
            self._newlines += line.endswith(b"\n")

    def close(self) -> None:
        """The document is over; raises when it is not complete."""
        self._guarded(self._parser.close)

    def _guarded(self, step: Callable[..., object], *args: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            step(*args)
        except Violation as broken:
            self._failure = self._malformed(f"{self._where()}: {broken}")
        except etree.XMLSyntaxError as broken:
            self._failure = self._malformed(f"{self._where()}: {self._syntax(broken)}")
        except IngestError as error:
            self._failure = error
        if self._failure is not None:
            raise self._failure from None

    def _where(self) -> str:
        inside = self._target.path[-1]
        return f"line {self._newlines + 1}" + (f", element {clip(inside)}" if inside else "")

    def _syntax(self, broken: etree.XMLSyntaxError) -> str:
        # A mark-up slip within a credential would be explained with pieces of the credential.
        if not self._secret.isdisjoint(self._target.path):
            return "not well-formed XML"
        reason = " ".join(str(broken.msg or "no reason given").split())
        return f"not well-formed XML ({clip(reason)[1:-1]})"
