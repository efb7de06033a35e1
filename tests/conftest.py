"""What tests of several folders share: the Blob service emulator, started once a session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    from fixtures.azurite import Azurite

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
"""How long an example takes is the machine's to say, which others use too."""

OF_THIS_MACHINE = frozenset(
    {
        "test_block_devices",
        "test_debian_package",
        "test_disks_in_use",
        "test_hardened_unit",
        "test_udev_conformance",
        "test_udev_recorded",
        "test_udev_station",
    }
)
"""They use what there is once on a machine (loop devices, udev, containers): one worker has them all."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several workers (``-n 2``) one has a whole file: what the file makes for its tests is made once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # it may not be installed
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "machine" if Path(file).stem in OF_THIS_MACHINE else file

    return ByFile(config, log)


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
