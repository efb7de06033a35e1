"""All settings together, and where they come from."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.config.api import ApiSettings, read_api
from agent.config.catalog import CatalogSettings, read_catalog
from agent.config.drives import DeviceSettings, ImageSettings, read_bays, read_devices, read_images
from agent.config.metrics import Listen, read_metrics
from agent.config.notify import NotifySettings, read_notify
from agent.config.reading import read_in_time
from agent.config.store import StoreSettings, read_store
from agent.config.tables import handed, known, path
from agent.config.transfer import (
    BandwidthSettings,
    TransferSettings,
    read_bandwidth,
    read_concurrency,
    read_transfer,
)
from agent.errors import ConfigInvalid
from agent.model.concurrency import NO_LIMITS, Concurrency

DEFAULT_CONFIG = Path("/etc/drive-ingest-agent/agent.toml")
MAX_BYTES = 256 * 1024
"""Thousands of bays have room."""
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
    known(raw, "", TABLES)
    named = environment.get("INGEST_AGENT_STATE") or raw.get("state_dir") or _default_state(environment)
    if not isinstance(named, (str, Path)) or "\0" in str(named):
        raise ConfigInvalid("state_dir must be a path")
    state_dir = Path(named)
    return Settings(
        state_dir=state_dir.absolute(),
        store=read_store(raw.get("store", {}), state_dir, environment, with_credential=with_credential),
        images=read_images(raw.get("image", [])),
        devices=read_devices(raw.get("devices", {})),
        bays=read_bays(raw.get("bays", {})),
        transfer=read_transfer(raw.get("transfer", {})),
        bandwidth=read_bandwidth(raw.get("bandwidth", {})),
        concurrency=read_concurrency(raw.get("concurrency", {})),
        key_file=_key_file(raw, environment),
        metrics=read_metrics(raw.get("metrics", {}), environment),
        api=read_api(raw.get("api", {}), state_dir, environment),
        catalog=read_catalog(raw.get("catalog", {}), environment),
        notify=read_notify(raw.get("notify", {}), environment),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        data = read_in_time(path, MAX_BYTES)
    except OSError as error:
        raise ConfigInvalid(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ConfigInvalid(f"{path} is too long for settings: more than {MAX_BYTES} bytes")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except ValueError as error:
        # Besides errors of its own, those of int(), for a number of thousands of digits.
        raise ConfigInvalid(f"{path} is no TOML: {error}") from None
    except RecursionError:
        raise ConfigInvalid(f"{path} is no TOML: it is nested too deeply") from None


def _default_state(environment: Mapping[str, str]) -> Path:
    base = environment.get("STATE_DIRECTORY")
    if base:
        return Path(base.partition(":")[0])
    return Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "drive-ingest-agent"


def _key_file(raw: Mapping[str, Any], environment: Mapping[str, str]) -> Path | None:
    """What the service manager hands over counts before the setting, which says where it comes from."""
    named = path(raw, "", "key_file")
    if chosen := environment.get("INGEST_AGENT_KEY_FILE"):
        return Path(chosen).absolute()
    return handed(environment, "catalog.key") or named
