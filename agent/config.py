"""Settings: a TOML file, environment variables over it, secrets from files or systemd credentials."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.errors import ConfigInvalid, MalformedInput
from agent.model.identity import SerialNumber
from agent.model.secrets import Secret
from agent.transfer.ring import SLOT_BYTES

DEFAULT_CONFIG = Path("/etc/drive-ingest-agent/agent.toml")
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where blobs go: ``azure`` (an endpoint) or ``directory`` (a folder, the embedded default)."""

    kind: str
    address: str
    credential: Secret | None = None


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """A file or device that stands in for a drive."""

    path: Path
    serial: SerialNumber
    bay: str
    sector_size: int = 512


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """How hard a drive is worked. ``ring_bytes`` is a drive's share of memory."""

    ring_bytes: int = 64 * MEBIBYTE
    block_bytes: int = 4 * MEBIBYTE
    connections: int = 16
    give_up_after_s: float = 60.0

    @property
    def slot_count(self) -> int:
        """Slots of the ring."""
        return self.ring_bytes // SLOT_BYTES


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it."""

    state_dir: Path
    store: StoreSettings
    images: tuple[ImageSettings, ...] = ()
    transfer: TransferSettings = field(default_factory=TransferSettings)


def load(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """Settings from ``path``, or INGEST_AGENT_CONFIG, or the default place if it is there.

    Raises ConfigInvalid naming the setting.
    """
    chosen = path or (Path(text) if (text := environment.get("INGEST_AGENT_CONFIG")) else None)
    if chosen is None and DEFAULT_CONFIG.exists():
        chosen = DEFAULT_CONFIG
    raw = _read(chosen) if chosen is not None else {}
    _known(raw, "", {"state_dir", "store", "image", "transfer"})
    named = environment.get("INGEST_AGENT_STATE") or raw.get("state_dir") or _default_state(environment)
    if not isinstance(named, (str, Path)):
        raise ConfigInvalid("state_dir must be a path")
    state_dir = Path(named)
    return Settings(
        state_dir=state_dir.absolute(),
        store=_store(raw.get("store", {}), state_dir, environment),
        images=_images(raw.get("image", [])),
        transfer=_transfer(raw.get("transfer", {})),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigInvalid(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path} is no TOML: {error}") from None


def _default_state(environment: Mapping[str, str]) -> Path:
    base = environment.get("STATE_DIRECTORY")
    if base:
        return Path(base.partition(":")[0])
    return Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "drive-ingest-agent"


def _known(table: Any, place: str, names: set[str]) -> None:
    if not isinstance(table, dict):
        raise ConfigInvalid(f"{place.rstrip('.')} must be a table")
    unknown = sorted(set(table) - names)
    if unknown:
        raise ConfigInvalid(f"there is no setting {place}{unknown[0]}; known are {', '.join(sorted(names))}")


def _store(table: Mapping[str, Any], state_dir: Path, environment: Mapping[str, str]) -> StoreSettings:
    _known(table, "store.", {"kind", "address", "credential_file"})
    kind = environment.get("INGEST_AGENT_STORE_KIND") or table.get("kind", "directory")
    if kind not in ("azure", "directory"):
        raise ConfigInvalid(f"store.kind is {kind!r}; it must be azure or directory")
    address = environment.get("INGEST_AGENT_STORE_ADDRESS") or table.get("address")
    if address is None:
        if kind == "azure":
            raise ConfigInvalid("store.address is missing: the blob endpoint of the storage account")
        address = str(state_dir.absolute() / "blobs")
    return StoreSettings(kind, str(address), _credential(table, environment) if kind == "azure" else None)


def _credential(table: Mapping[str, Any], environment: Mapping[str, str]) -> Secret:
    """An account key or a SAS, from a file: it never stands in the settings themselves."""
    named = environment.get("INGEST_AGENT_STORE_CREDENTIAL_FILE") or table.get("credential_file")
    folder = environment.get("CREDENTIALS_DIRECTORY")
    path = Path(named) if named else Path(folder) / "store" if folder else None
    if path is None:
        raise ConfigInvalid("store.credential_file is missing: a file with an account key or a SAS")
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigInvalid(f"store.credential_file {path} cannot be read") from None
    if not text:
        raise ConfigInvalid(f"store.credential_file {path} is empty")
    return Secret(text)


def _images(tables: Any) -> tuple[ImageSettings, ...]:
    if not isinstance(tables, list):
        raise ConfigInvalid("image must be a list of tables: write [[image]], with two brackets")
    return tuple(_image(number, table) for number, table in enumerate(tables, 1))


def _image(number: int, table: Any) -> ImageSettings:
    place = f"image[{number}]."
    if not isinstance(table, dict):
        raise ConfigInvalid(f"{place[:-1]} is no table")
    _known(table, place, {"path", "serial", "bay", "sector_size"})
    for name in ("path", "serial"):
        if not isinstance(table.get(name), str) or (name == "path" and not table[name]):
            raise ConfigInvalid(f"{place}{name} is missing")
    try:
        serial = SerialNumber.parse(table["serial"])
    except MalformedInput as error:
        raise ConfigInvalid(f"{place}serial: {error.detail}") from None
    sector_size = table.get("sector_size", 512)
    if sector_size not in (512, 4096):
        raise ConfigInvalid(f"{place}sector_size must be 512 or 4096")
    return ImageSettings(Path(table["path"]), serial, str(table.get("bay", number)), sector_size)


def _transfer(table: Mapping[str, Any]) -> TransferSettings:
    _known(table, "transfer.", {"ring_mib", "block_mib", "connections", "give_up_after_s"})
    ring = _number(table, "ring_mib", 64, 32, 4096)
    block = _number(table, "block_mib", 4, 1, 64)
    if block * 4 > ring:
        raise ConfigInvalid("transfer.ring_mib must be at least four times transfer.block_mib")
    return TransferSettings(
        ring_bytes=ring * MEBIBYTE,
        block_bytes=block * MEBIBYTE,
        connections=_number(table, "connections", 16, 1, 256),
        give_up_after_s=float(_number(table, "give_up_after_s", 60, 0, 86_400)),
    )


def _number(table: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = table.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigInvalid(f"transfer.{name} must be a number from {low} to {high}")
    return value
