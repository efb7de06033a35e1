"""Settings: a TOML file, environment variables over it, secrets from files or systemd credentials."""

from agent.config.drives import DeviceSettings, ImageSettings
from agent.config.metrics import Listen
from agent.config.settings import Settings, load
from agent.config.store import StoreSettings, read_credential
from agent.config.transfer import BandwidthSettings, TransferSettings

__all__ = [
    "BandwidthSettings",
    "DeviceSettings",
    "ImageSettings",
    "Listen",
    "Settings",
    "StoreSettings",
    "TransferSettings",
    "load",
    "read_credential",
]
