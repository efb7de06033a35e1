"""What tests of several folders share: the Blob service emulator, started once a session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fixtures.azurite import Azurite


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """A running emulator with its blobs in memory; tests use containers of their own."""
    from fixtures.azurite import AzuriteMissing, running

    with ExitStack() as stack:
        try:
            emulator = stack.enter_context(running())
        except AzuriteMissing as reason:
            pytest.skip(str(reason))
        yield emulator


@pytest.fixture(scope="session")
def azurite_endpoint(azurite: Azurite) -> str:
    """``http://127.0.0.1:PORT/devstoreaccount1``; the key is ``fixtures.azurite.KEY``."""
    return azurite.endpoint
