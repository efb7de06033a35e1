"""Settings: a TOML file, environment variables over it, secrets from files or systemd credentials."""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.config_api import ApiSettings, read_api
from agent.config_catalog import CatalogSettings, read_catalog
from agent.config_notify import NotifySettings, read_notify
from agent.errors import ConfigInvalid, MalformedInput
from agent.model.access import Identity, IdentityKind
from agent.model.bandwidth import NO_CAP, Cap
from agent.model.concurrency import NO_LIMITS, Concurrency
from agent.model.identity import JobName, SerialNumber
from agent.model.secrets import Secret
from agent.transfer.ring import SLOT_BYTES

DEFAULT_CONFIG = Path("/etc/drive-ingest-agent/agent.toml")
TABLES = {
    "api",
    "catalog",
    "state_dir",
    "store",
    "image",
    "devices",
    "bays",
    "transfer",
    "bandwidth",
    "concurrency",
    "key_file",
    "metrics",
    "notify",
}
MEBIBYTE = 1024 * 1024
MAX_CREDENTIAL_BYTES = 64 * 1024
MAX_SOCKET_PATH_BYTES = 107
_PORT = re.compile(r"[0-9]{1,5}\Z", re.ASCII)
_ID_PATH = re.compile(r"[A-Za-z0-9:._+-]{1,200}\Z", re.ASCII)
"""What udev makes of the way to a device (udevadm info, ID_PATH)."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where blobs go: ``azure`` (an endpoint) or ``directory`` (a folder, the embedded default).

    An ``azure`` store has a credential, which stands in ``credential_file``, or an identity.
    """

    kind: str
    address: str
    credential: Secret | None = None
    credential_file: Path | None = None
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """A file or device that stands in for a drive."""

    path: Path
    serial: SerialNumber
    bay: str
    sector_size: int = 512


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """``udev``: the drives of this machine are seen. ``loop_devices``: those dressed as drives as well."""

    udev: bool = False
    loop_devices: bool = False


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """How hard a drive is worked. ``ring_bytes`` is a drive's share of memory.

    ``keep_free_bytes`` of the state disk are not used, and a drive may take ``drive_state_bytes`` of it.
    """

    ring_bytes: int = 64 * MEBIBYTE
    block_bytes: int = 4 * MEBIBYTE
    connections: int = 16
    give_up_after_s: float = 60.0
    keep_free_bytes: int = 256 * MEBIBYTE
    drive_state_bytes: int = 65_536 * MEBIBYTE

    @property
    def slot_count(self) -> int:
        """Slots of the ring."""
        return self.ring_bytes // SLOT_BYTES


@dataclass(frozen=True, slots=True)
class BandwidthSettings:
    """Caps for the station, for its storage account, and for jobs by name."""

    station: Cap = NO_CAP
    account: Cap = NO_CAP
    jobs: Mapping[str, Cap] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where metrics are served: the path of a Unix socket, or a port of this machine's own address."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Listen:
        """``/run/.../metrics.sock``, ``127.0.0.1:PORT`` or ``[::1]:PORT``. Raises ConfigInvalid."""
        if text.startswith("/"):
            if len(os.fsencode(text)) > MAX_SOCKET_PATH_BYTES or "\0" in text:
                raise ConfigInvalid(
                    f"metrics.listen is no path of a socket (1 to {MAX_SOCKET_PATH_BYTES} bytes)"
                )
            return cls(path=Path(text))
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not _PORT.match(port) or not 0 < int(port) < 65536:
            raise ConfigInvalid("metrics.listen must be a path, 127.0.0.1:PORT or [::1]:PORT")
        try:
            is_own = ipaddress.ip_address(host).is_loopback
        except ValueError:
            is_own = False
        if not is_own:
            raise ConfigInvalid("metrics.listen must be an address of this machine alone: 127.0.0.1 or [::1]")
        return cls(host=host, port=int(port))


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it."""

    state_dir: Path
    store: StoreSettings
    images: tuple[ImageSettings, ...] = ()
    devices: DeviceSettings = field(default_factory=DeviceSettings)
    bays: Mapping[str, str] = field(default_factory=dict)
    """Label on the chassis by udev's ID_PATH."""
    transfer: TransferSettings = field(default_factory=TransferSettings)
    bandwidth: BandwidthSettings = field(default_factory=BandwidthSettings)
    concurrency: Concurrency = NO_LIMITS
    key_file: Path | None = None
    """The key of the keys in the catalog; None: beside the catalog."""
    metrics: Listen | None = None
    api: ApiSettings = field(default_factory=ApiSettings)
    catalog: CatalogSettings = field(default_factory=CatalogSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)

    @property
    def catalog_key(self) -> Path:
        """Where the key of keys is."""
        return self.key_file or self.state_dir / "catalog.key"


def load(path: Path | None, environment: Mapping[str, str], *, with_credential: bool = True) -> Settings:
    """Settings from ``path``, or INGEST_AGENT_CONFIG, or the default place if it is there.

    Without ``with_credential`` the store's is neither read nor asked for: who only looks into the
    catalog need not be allowed to read it. Raises ConfigInvalid naming the setting.
    """
    chosen = path or (Path(text) if (text := environment.get("INGEST_AGENT_CONFIG")) else None)
    if chosen is None and DEFAULT_CONFIG.exists():
        chosen = DEFAULT_CONFIG
    raw = _read(chosen) if chosen is not None else {}
    _known(raw, "", TABLES)
    named = environment.get("INGEST_AGENT_STATE") or raw.get("state_dir") or _default_state(environment)
    if not isinstance(named, (str, Path)):
        raise ConfigInvalid("state_dir must be a path")
    state_dir = Path(named)
    return Settings(
        state_dir=state_dir.absolute(),
        store=_store(raw.get("store", {}), state_dir, environment, with_credential),
        images=_images(raw.get("image", [])),
        devices=_devices(raw.get("devices", {})),
        bays=_bays(raw.get("bays", {})),
        transfer=_transfer(raw.get("transfer", {})),
        bandwidth=_bandwidth(raw.get("bandwidth", {})),
        concurrency=_concurrency(raw.get("concurrency", {})),
        key_file=_key_file(raw.get("key_file"), environment),
        metrics=_metrics(raw.get("metrics", {}), environment),
        api=read_api(raw.get("api", {}), state_dir, environment),
        catalog=read_catalog(raw.get("catalog", {}), environment),
        notify=read_notify(raw.get("notify", {}), environment),
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


def _key_file(named: Any, environment: Mapping[str, str]) -> Path | None:
    """What the service manager hands over counts before the setting, which says where it comes from."""
    if named is not None and (not isinstance(named, str) or not named):
        raise ConfigInvalid("key_file must be a path")
    folder = environment.get("CREDENTIALS_DIRECTORY")
    handed = Path(folder) / "catalog.key" if folder else None
    if not environment.get("INGEST_AGENT_KEY_FILE") and handed is not None and handed.exists():
        return handed
    chosen = environment.get("INGEST_AGENT_KEY_FILE") or named
    return Path(chosen).absolute() if chosen else None


def _metrics(table: Mapping[str, Any], environment: Mapping[str, str]) -> Listen | None:
    _known(table, "metrics.", {"listen"})
    named = environment.get("INGEST_AGENT_METRICS_LISTEN") or table.get("listen")
    if named is None:
        return None
    if not isinstance(named, str):
        raise ConfigInvalid("metrics.listen must be a text")
    return Listen.parse(named)


def _store(
    table: Mapping[str, Any], state_dir: Path, environment: Mapping[str, str], with_credential: bool
) -> StoreSettings:
    _known(table, "store.", {"kind", "address", "credential_file", "credential", "client_id"})
    kind = environment.get("INGEST_AGENT_STORE_KIND") or table.get("kind", "directory")
    if kind not in ("azure", "directory"):
        raise ConfigInvalid(f"store.kind is {kind!r}; it must be azure or directory")
    address = environment.get("INGEST_AGENT_STORE_ADDRESS") or table.get("address")
    if address is None:
        if kind == "azure":
            raise ConfigInvalid("store.address is missing: the blob endpoint of the storage account")
        address = str(state_dir.absolute() / "blobs")
    if kind == "directory":
        return StoreSettings(kind, str(address))
    identity = _identity(table)
    if identity is not None:
        return StoreSettings(kind, str(address), identity=identity)
    if not with_credential:
        return StoreSettings(kind, str(address))
    path = _credential_file(table, environment)
    return StoreSettings(kind, str(address), read_credential(path), path)


def _identity(table: Mapping[str, Any]) -> Identity | None:
    """A credential that is no secret: the name of a way to get tokens."""
    named, client_id = table.get("credential"), table.get("client_id")
    if named is None:
        if client_id is not None:
            raise ConfigInvalid("store.client_id goes with store.credential only")
        return None
    if table.get("credential_file") is not None:
        raise ConfigInvalid("store.credential and store.credential_file exclude each other")
    kinds = [str(kind) for kind in IdentityKind]
    if named not in kinds:
        raise ConfigInvalid(
            f"store.credential must be {' or '.join(kinds)}; a key or a SAS goes into a file: "
            "store.credential_file"
        )
    if client_id is not None and not isinstance(client_id, str):
        raise ConfigInvalid("store.client_id must be a text")
    return Identity(IdentityKind(named), client_id)


def _credential_file(table: Mapping[str, Any], environment: Mapping[str, str]) -> Path:
    named = environment.get("INGEST_AGENT_STORE_CREDENTIAL_FILE") or table.get("credential_file")
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if named:
        return Path(named)
    if folder:
        return Path(folder) / "store"
    raise ConfigInvalid("store.credential_file is missing: a file with an account key or a SAS")


def read_credential(path: Path) -> Secret:
    """An account key or a SAS, from a file: it never stands in the settings themselves.

    Raises ConfigInvalid.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CREDENTIAL_BYTES + 1)
        text = data.decode("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigInvalid(f"store.credential_file {path} cannot be read") from None
    if not text or len(data) > MAX_CREDENTIAL_BYTES:
        raise ConfigInvalid(f"store.credential_file {path} is {'too long' if text else 'empty'}")
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


def _devices(table: Mapping[str, Any]) -> DeviceSettings:
    _known(table, "devices.", {"udev", "loop_devices"})
    for name, value in table.items():
        if not isinstance(value, bool):
            raise ConfigInvalid(f"devices.{name} must be true or false")
    return DeviceSettings(**table)


def _bays(table: Any) -> dict[str, str]:
    if not isinstance(table, dict):
        raise ConfigInvalid("bays must be a table of ID_PATH to label")
    labels: dict[str, str] = {}
    for path, label in table.items():
        if not _ID_PATH.match(path):
            raise ConfigInvalid(f"bays: {path!r} is no ID_PATH of udev")
        if not isinstance(label, str) or not label.strip().isprintable() or not 1 <= len(label.strip()) <= 32:
            raise ConfigInvalid(f'bays."{path}" must be a label of 1 to 32 characters')
        if label.strip() in labels.values():
            raise ConfigInvalid(f'bays."{path}": there is another bay {label.strip()!r}')
        labels[path] = label.strip()
    return labels


def _transfer(table: Mapping[str, Any]) -> TransferSettings:
    _known(
        table,
        "transfer.",
        {"ring_mib", "block_mib", "connections", "give_up_after_s", "keep_free_mib", "drive_state_mib"},
    )
    ring = _number(table, "ring_mib", 64, 32, 4096)
    block = _number(table, "block_mib", 4, 1, 64)
    if block * 4 > ring:
        raise ConfigInvalid("transfer.ring_mib must be at least four times transfer.block_mib")
    return TransferSettings(
        ring_bytes=ring * MEBIBYTE,
        block_bytes=block * MEBIBYTE,
        connections=_number(table, "connections", 16, 1, 256),
        give_up_after_s=float(_number(table, "give_up_after_s", 60, 0, 86_400)),
        keep_free_bytes=_number(table, "keep_free_mib", 256, 0, 1 << 20) * MEBIBYTE,
        drive_state_bytes=_number(table, "drive_state_mib", 65_536, 64, 1 << 24) * MEBIBYTE,
    )


def _bandwidth(table: Mapping[str, Any]) -> BandwidthSettings:
    _known(table, "bandwidth.", {"station", "account", "jobs"})
    jobs = table.get("jobs", {})
    if not isinstance(jobs, dict):
        raise ConfigInvalid("bandwidth.jobs must be a table of job names")
    for name in jobs:
        try:
            JobName.parse(name)
        except MalformedInput as error:
            raise ConfigInvalid(f"bandwidth.jobs: {error.detail}") from None
    return BandwidthSettings(
        station=_cap(table, "station", "bandwidth.station"),
        account=_cap(table, "account", "bandwidth.account"),
        jobs={name: _cap(jobs, name, f"bandwidth.jobs.{name}") for name in jobs},
    )


def _concurrency(table: Any) -> Concurrency:
    if not isinstance(table, dict):
        raise ConfigInvalid("concurrency must be a table")
    try:
        return Concurrency.parse(table)
    except MalformedInput as error:
        raise ConfigInvalid(error.detail) from None


def _cap(table: Mapping[str, Any], name: str, place: str) -> Cap:
    if name not in table:
        return NO_CAP
    try:
        return Cap.parse(table[name])
    except MalformedInput as error:
        raise ConfigInvalid(f"{place}: {error.detail}") from None


def _number(table: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = table.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigInvalid(f"transfer.{name} must be a number from {low} to {high}")
    return value
