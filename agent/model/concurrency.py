"""How many drives may be worked at once: on a station, behind a controller, in a group of bays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from agent.errors import MalformedInput

MOST_AT_ONCE = 1000
MAX_GROUPS = 100
SCOPES = ("station", "controller", "account")


@dataclass(frozen=True, slots=True)
class BayGroup:
    """Bays that share something, such as a backplane: ``most`` drives in them are worked at once."""

    bays: frozenset[str]
    most: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a drive sits: the label of its bay and the controller behind it, empty where it is not told."""

    bay: str
    controller: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit that holds for a drive. ``setting`` is what sets it, ``drives`` whom it counts, in words."""

    setting: str
    drives: str
    most: int


@dataclass(frozen=True, slots=True)
class Concurrency:
    """None: no limit. ``account`` is for each storage account, ``controller`` for each one."""

    station: int | None = None
    controller: int | None = None
    account: int | None = None
    groups: Mapping[str, BayGroup] = field(default_factory=dict)

    def bounds(self, place: Place, account: str) -> dict[str, Bound]:
        """What holds for a drive in a place whose blobs go to an account, each under its own key."""
        found: dict[str, Bound] = {}
        if self.station is not None:
            found["station"] = Bound("concurrency.station", "drives", self.station)
        if self.account is not None:
            told = "drives for this storage account"
            found[f"account {account}"] = Bound("concurrency.account", told, self.account)
        if self.controller is not None and place.controller:
            told = f"drives behind controller {place.controller}"
            found[f"controller {place.controller}"] = Bound("concurrency.controller", told, self.controller)
        for name, group in self.groups.items():
            if place.bay in group.bays:
                setting = f"concurrency.groups.{name}"
                found[f"group {name}"] = Bound(setting, f"drives of the bays {name}", group.most)
        return found

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> Self:
        """The table of the settings file. Raises MalformedInput, which names the setting."""
        groups = table.get("groups", {})
        if not isinstance(groups, dict) or len(groups) > MAX_GROUPS:
            raise MalformedInput(f"concurrency.groups must be a table of at most {MAX_GROUPS} tables")
        limits = {name: _most(table[name], f"concurrency.{name}") for name in SCOPES if name in table}
        return cls(**limits, groups={name: _group(name, told) for name, told in groups.items()})


NO_LIMITS = Concurrency()
"""All drives at once."""


def _group(name: str, told: Any) -> BayGroup:
    place = f"concurrency.groups.{name}"
    if not isinstance(told, dict) or set(told) != {"bays", "at_once"}:
        raise MalformedInput(f"{place} must have bays, a list of labels, and at_once, a number")
    bays = told["bays"]
    if not isinstance(bays, list) or not bays or not all(isinstance(bay, str) and bay for bay in bays):
        raise MalformedInput(f"{place}.bays must be a list of labels of bays")
    return BayGroup(frozenset(bays), _most(told["at_once"], f"{place}.at_once"))


def _most(value: Any, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_AT_ONCE:
        raise MalformedInput(f"{place} must be a number from 1 to {MOST_AT_ONCE}")
    return value
