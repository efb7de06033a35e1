"""The drives that many of these tests ingest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit import images
from tests.kit.transfer import Drive

FACTS = images.facts()


@pytest.fixture(scope="module")
def demo_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.unpack("demo", tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def nasty_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.unpack("nasty", tmp_path_factory.mktemp("nasty"))


@pytest.fixture
def by_manifest(demo_image: Path, tmp_path: Path) -> Drive:
    return Drive(
        demo_image,
        tmp_path,
        serial=FACTS["serial"],
        manifest_file=FACTS["manifest_file"],
        manifest_hash=FACTS["manifest_md5"],
        destination=None,
    )
