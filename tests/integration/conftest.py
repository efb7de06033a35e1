"""The drives that many of these tests ingest, and the certificates of servers that some of them talk to."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from agent.transfer import aimd, limiter, patience
from fixtures.certificates import Certificates, make
from tests.integration.fleet_cases import fleet, postgres_host
from tests.kit import images
from tests.kit.transfer import Drive
from tests.kit.volume_command import SHARED

__all__ = ["fleet", "postgres_host"]

FACTS = images.facts()


@pytest.fixture(scope="module")
def demo_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.unpack("demo", tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def nasty_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.unpack("nasty", tmp_path_factory.mktemp("nasty"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.unpack("demo", tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Volumes that Windows made."""
    folder = tmp_path_factory.mktemp("real")
    with tarfile.open(SHARED / "bitlk-images.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "bitlk-images"


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


@pytest.fixture
def _brief_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for better weather waits a twentieth as long; what it does then is the same."""
    for module, name in (
        (patience, "FIRST_PAUSE_S"),
        (patience, "LONGEST_PAUSE_S"),
        (patience, "LONGEST_THROTTLED_PAUSE_S"),
        (aimd, "GAP_S"),
        (aimd, "LONGEST_GAP_S"),
        (limiter, "TICK_S"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name) / 20)


@pytest.fixture
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=["plain", "tls"])
def tls(
    request: pytest.FixtureRequest,
    _no_proxies: None,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> Certificates | None:
    """For what is to hold on both ways."""
    if request.param == "plain":
        return None
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    return certificates
