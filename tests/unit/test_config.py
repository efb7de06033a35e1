"""Settings, and what is said of wrong ones."""

from __future__ import annotations

import os
import threading
from datetime import datetime
from pathlib import Path

import pytest

from agent import config
from agent.config import reading
from agent.errors import ConfigInvalid
from agent.model.access import Identity, IdentityKind

GOOD = """
state_dir = "{0}/state"

[store]
kind = "azure"
address = "https://acct.blob.core.windows.net"
credential_file = "{0}/key"

[transfer]
ring_mib = 128
connections = 4

[[image]]
path = "/dev/loop7"
serial = "WD 1"
bay = "3"
sector_size = 4096
"""


def _load(tmp_path: Path, text: str, **environment: str) -> config.Settings:
    file = tmp_path / "agent.toml"
    file.write_text(text.format(tmp_path))
    return config.load(file, environment)


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("c2VjcmV0\n")
    settings = _load(tmp_path, GOOD)
    assert settings.state_dir == tmp_path / "state"
    assert settings.store.credential is not None
    assert settings.store.credential.reveal() == "c2VjcmV0"
    assert settings.transfer.slot_count == 256
    assert settings.images[0].serial.normal == "WD1"
    assert "c2VjcmV0" not in repr(settings)


def test_without_a_file_the_embedded_store_is_used(tmp_path: Path) -> None:
    settings = config.load(None, {"INGEST_AGENT_STATE": str(tmp_path)})
    assert settings.store.kind == "directory"
    assert settings.store.address == str(tmp_path / "blobs")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x")
    settings = _load(tmp_path, GOOD, INGEST_AGENT_STORE_ADDRESS="http://127.0.0.1:1/a")
    assert settings.store.address == "http://127.0.0.1:1/a"


def test_a_credential_may_come_from_the_service_manager(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("key")
    text = '[store]\nkind = "azure"\naddress = "https://a.example"\n'
    settings = _load(tmp_path, text, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert settings.store.credential is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "no setting x"),
        ("[store]\nkind = 's3'", "store.kind is 's3'"),
        ("[store]\nkind = 'azure'", "store.address is missing"),
        ("[store]\nkind = 'azure'\naddress = 'https://a.example'", "store.credential_file is missing"),
        (
            "[store]\nkind = 'azure'\naddress = 'https://a.example'\ncredential_file = '/nowhere'",
            "/nowhere cannot be read",
        ),
        ("[transfer]\nring_mib = 'much'", "transfer.ring_mib must be a number"),
        ("[transfer]\nblock_mib = 64", "at least four times"),
        ("[transfer]\nspeed = 1", "no setting transfer.speed"),
        ("[[image]]\npath = '/x'", r"image[1].serial is missing"),
        ("[[image]]\npath = '/x'\nserial = ''", "image[1].serial: the serial number is empty"),
        ("[[image]]\npath = '/x'\nserial = 'A'\nsector_size = 520", "image[1].sector_size must be"),
        ("state_dir = ", "is no TOML"),
        ("state_dir = 5", "state_dir must be a path"),
        ('state_dir = "/var/\\u0000x"', "state_dir must be a path"),
        ('[store]\nkind = "directory"\naddress = "/var/\\u0000x"', "store.address must be"),
        ('[store]\nkind = "directory"\naddress = ["/var"]', "store.address must be"),
        (
            "[store]\nkind='azure'\naddress='https://a.example'\ncredential_file=5",
            "store.credential_file must be a path",
        ),
        ("[transfer]\nring_mib = " + "9" * 5000, "is no TOML"),
        ("transfer = " + "[" * 100_000, "is no TOML"),
        ("#" * (256 * 1024) + "\n", "is too long"),
        ("store = 5", "store must be a table"),
        ("transfer = 3", "transfer must be a table"),
        (
            "[store]\nkind='azure'\naddress='https://a.example'\ncredential='c2VjcmV0'",
            "managed-identity or workload",
        ),
        (
            "[store]\nkind='azure'\naddress='https://a.example'\ncredential='managed-identity'"
            "\ncredential_file='/x'",
            "exclude each other",
        ),
        ("[store]\nkind='azure'\naddress='https://a.example'\nclient_id='x'", "client_id goes with"),
        ("bandwidth = 5", "bandwidth must be a table"),
        ("[bandwidth]\nstation = 'fast'", "bandwidth.station: 'fast' is no rate"),
        ("[bandwidth]\nspeed = 1", "no setting bandwidth.speed"),
        ("[bandwidth.account]\n'22:00-6:00' = '1 MB/s'\notherwise = 'unlimited'", "'22:00-6:00' is no time"),
        ("[bandwidth]\njobs = 5", "bandwidth.jobs must be a table"),
        ("[bandwidth.jobs]\nBox = '1 MB/s'", "bandwidth.jobs: job name 'Box'"),
        ("[bandwidth.jobs.box]\n'08:00-18:00' = '1 MB/s'", "bandwidth.jobs.box: otherwise is missing"),
        ("image = 5", "write [[image]]"),
        ("[image]\npath = '/x'", "write [[image]]"),
        ("[[image]]\npath = ''\nserial = 'A'", "image[1].path is missing"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        _load(tmp_path, text)
    assert said in caught.value.detail


def test_an_identity_stands_in_for_a_file(tmp_path: Path) -> None:
    text = (
        '[store]\nkind = "azure"\naddress = "https://a.example"\n'
        'credential = "managed-identity"\nclient_id = "me"\n'
    )
    store = _load(tmp_path, text).store
    assert store.identity == Identity(IdentityKind.MANAGED, "me")
    assert store.credential is None


def test_caps_are_read_with_their_hours(tmp_path: Path) -> None:
    text = """
[bandwidth]
station = "100 MB/s"
account = {{ "22:00-06:00" = "200 MB/s", otherwise = "20 MB/s" }}

[bandwidth.jobs]
box-7 = 5000000

[bandwidth.jobs.box-8]
"sat-sun" = "unlimited"
otherwise = "10 MB/s"
"""
    bandwidth = _load(tmp_path, text).bandwidth
    saturday = datetime(2026, 11, 21, 23, 0)
    assert bandwidth.station.at(saturday) == 100_000_000
    assert bandwidth.account.at(saturday) == 200_000_000
    assert bandwidth.jobs["box-7"].at(saturday) == 5_000_000
    assert bandwidth.jobs["box-8"].at(saturday) is None


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        config.load(tmp_path / "none.toml", {})


@pytest.mark.parametrize("name", ["agent.toml", "key"])
def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "agent.toml").write_text(GOOD.format(tmp_path))
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    monkeypatch.setattr(reading, "PIPE_WITHIN_S", 0.05)
    with pytest.raises(ConfigInvalid, match=f"{name} cannot be read: nobody writes into this pipe"):
        config.load(tmp_path / "agent.toml", {})


def test_settings_may_come_from_a_command_or_from_nothing(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    writer = threading.Timer(0.1, lambda: (os.write(theirs, b'state_dir = "/x"\n'), os.close(theirs)))
    writer.start()
    assert config.load(Path(f"/dev/fd/{ours}"), {}).state_dir == Path("/x")
    writer.join()
    os.close(ours)
    named = {"INGEST_AGENT_STATE": str(tmp_path)}
    assert config.load(Path("/dev/null"), named).store.kind == "directory"
    with pytest.raises(ConfigInvalid, match="/dev/zero is too long for settings"):
        config.load(Path("/dev/zero"), named)


def test_the_key_of_keys_comes_as_a_credential_where_one_is_handed_over(tmp_path: Path) -> None:
    handed = {"INGEST_AGENT_STATE": str(tmp_path), "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert config.load(None, handed).catalog_key == tmp_path / "catalog.key"
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/catalog.key").touch()
    assert config.load(None, handed).catalog_key == tmp_path / "credentials/catalog.key"
    named = {**handed, "INGEST_AGENT_KEY_FILE": str(tmp_path / "mine")}
    assert config.load(None, named).catalog_key == tmp_path / "mine"


def test_an_operator_without_the_credential_is_sent_to_the_same_key(tmp_path: Path) -> None:
    text = 'key_file = "/etc/credstore/drive-ingest.catalog.key"'
    (tmp_path / "catalog.key").touch()
    settings = _load(tmp_path, text, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert settings.catalog_key == tmp_path / "catalog.key"
    assert _load(tmp_path, text).catalog_key == Path("/etc/credstore/drive-ingest.catalog.key")
    with pytest.raises(ConfigInvalid, match="key_file"):
        _load(tmp_path, "key_file = 7")


def test_who_does_not_need_the_credential_of_the_store_need_not_be_able_to_read_it(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(GOOD.format(tmp_path))
    assert config.load(file, {}, with_credential=False).store.credential is None
    with pytest.raises(ConfigInvalid, match="credential_file"):
        config.load(file, {})


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:9784", config.Listen(host="127.0.0.1", port=9784)),
        ("[::1]:9784", config.Listen(host="::1", port=9784)),
        ("/run/a/metrics.sock", config.Listen(path=Path("/run/a/metrics.sock"))),
    ],
)
def test_metrics_are_served_to_this_machine(text: str, listen: config.Listen) -> None:
    assert config.Listen.parse(text) == listen


@pytest.mark.parametrize(
    "text", ["0.0.0.0:9784", "[::]:1", "host:1", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", "", "/" * 200]
)
def test_metrics_are_served_to_nobody_else(text: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"metrics\.listen"):
        config.Listen.parse(text)
