"""The settings of a catalog that stations share, and what is made of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent import config
from agent.catalog.server import Server, holder_of
from agent.errors import ConfigInvalid, StateUnusable

URL = "postgresql://ingest@db.example/jobs"
CANARY = "canary-9f3"


def _load(tmp_path: Path, catalog: str, **environment: str) -> config.CatalogSettings:
    file = tmp_path / "agent.toml"
    file.write_text(f'state_dir = "{tmp_path}/state"\n[catalog]\n{catalog}')
    return config.load(file, environment).catalog


def test_without_a_url_the_catalog_is_a_file_of_this_station(tmp_path: Path) -> None:
    assert _load(tmp_path, "").url is None


def test_a_whole_table_is_read_and_its_password_comes_from_the_file(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{CANARY}\n")
    secret.chmod(0o600)
    found = _load(tmp_path, f'url = "{URL}"\npassword_file = "{secret}"\nstation = "hall-2"\nlease_s = 900\n')
    password = found.password()
    assert (found.url, found.station, found.lease_s) == (URL, "hall-2", 900)
    assert password is not None
    assert password.reveal() == CANARY
    assert CANARY not in repr(found)
    assert CANARY not in repr(Server(URL, "hall-2", "id", 900.0, password))


def test_the_machine_names_the_station_and_a_day_has_ten_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.node", lambda: "_hall 2.example")
    found = _load(tmp_path, f'url = "{URL}"')
    assert (found.station, found.lease_s, found.password()) == ("hall-2.example", 600, None)


def test_what_the_service_manager_hands_over_counts_before_the_setting(tmp_path: Path) -> None:
    (tmp_path / "catalog.password").write_text("handed")
    (tmp_path / "catalog.password").chmod(0o400)
    found = _load(tmp_path, f'url = "{URL}"\npassword_file = "/nowhere"', CREDENTIALS_DIRECTORY=str(tmp_path))
    password = found.password()
    assert password is not None
    assert password.reveal() == "handed"


def test_the_environment_counts_before_the_file(tmp_path: Path) -> None:
    other = {"INGEST_AGENT_CATALOG_URL": "postgresql:///other", "INGEST_AGENT_CATALOG_PASSWORD_FILE": "/x"}
    found = _load(tmp_path, f'url = "{URL}"', **other)
    assert (found.url, found.password_file) == ("postgresql:///other", Path("/x"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lease_s = 600", "catalog.lease_s goes with catalog.url only"),
        (
            'uri = "x"',
            "there is no setting catalog.uri (is it url?); known are lease_s, password_file, station, url",
        ),
        ("url = 5", "catalog.url must be postgresql://USER@HOST/DATABASE"),
        ('url = "mysql://a@b/c"', "catalog.url must be postgresql://USER@HOST/DATABASE"),
        ('url = "postgresql://a@b:port/c"', "catalog.url must be postgresql://USER@HOST/DATABASE"),
        ('url = "postgresql://a@b"', "catalog.url must be postgresql://USER@HOST/DATABASE"),
        (f'url = "postgresql://a:{CANARY}@b/c"', "catalog.url must not hold the password: put it into"),
        (f'url = "postgresql://a@b/c?password={CANARY}"', "catalog.url must not hold the password"),
        (f'url = "{URL}"\nlease_s = 179', "catalog.lease_s must be a number from 180 to 86400 (seconds)"),
        (f'url = "{URL}"\nlease_s = true', "catalog.lease_s must be a number from 180 to 86400 (seconds)"),
        (f'url = "{URL}"\nstation = "a b"', "catalog.station must be a name of 1 to 63"),
        (f'url = "{URL}"\npassword_file = ""', "catalog.password_file must be a path"),
    ],
)
def test_what_is_wrong_with_a_setting_is_said_and_no_secret_with_it(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        _load(tmp_path, text)
    assert caught.value.detail.startswith(said)
    assert CANARY not in caught.value.detail


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (CANARY, 0o644, "is open to others; it must have mode 0600"),
        ("\n", 0o600, "holds no text"),
        ("x" * 5000, 0o600, "is too long: more than 4096 bytes"),
        (None, 0, "cannot be read"),
    ],
)
def test_a_password_file_that_is_no_good_is_said_to_be(
    tmp_path: Path, content: str | None, mode: int, said: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    found = _load(tmp_path, f'url = "{URL}"\npassword_file = "{file}"')
    with pytest.raises(ConfigInvalid) as caught:
        found.password()
    assert said in caught.value.detail
    assert CANARY not in caught.value.detail


def test_a_server_over_a_network_has_to_prove_who_it_is_unless_the_url_says_otherwise() -> None:
    pytest.importorskip("psycopg", reason="there is no driver for PostgreSQL: pip install psycopg[binary]")
    asked = {}
    for url in (
        URL,
        f"{URL}?sslmode=require",
        "postgresql:///jobs?host=/run/postgresql",
        "postgresql:///jobs",
    ):
        server = Server(url, "hall-2", "id", 600.0)
        asked[url] = server._arguments(server._parsed(), 10.0)
    assert asked[URL]["sslmode"] == "verify-full"
    assert "sslmode" not in asked[f"{URL}?sslmode=require"]
    assert all("sslmode" not in asked[url] for url in list(asked)[2:])
    assert all(one["connect_timeout"] and one["tcp_user_timeout"] for one in asked.values())


def test_a_holder_is_made_once_and_belongs_to_the_state_directory(tmp_path: Path) -> None:
    first = holder_of(tmp_path / "one")
    assert holder_of(tmp_path / "one") == first
    assert holder_of(tmp_path / "two") != first
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["station.id"]
    (tmp_path / "one/station.id").write_text("")
    with pytest.raises(StateUnusable, match="is damaged"):
        holder_of(tmp_path / "one")


def test_a_station_with_a_file_loads_no_driver_of_a_server(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from agent.catalog import open_catalog\n"
        "async def go():\n"
        "    async with open_catalog(*map(Path, sys.argv[1:])) as catalog:\n"
        "        assert (await catalog.find_jobs()).jobs == []\n"
        "asyncio.run(go()); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "catalog.sqlite"), str(tmp_path / "key")],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "agent.catalog.server" in loaded
    assert "psycopg" not in loaded
