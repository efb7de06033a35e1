"""What a customer's request says of a job besides its drives: where it stands, who ships, and where to.

Spelled on the wire as ``JobDetails`` of Microsoft.ImportExport (versions 2016-11-01 to 2021-01-01): the
names here in camel case. Addresses, account and tracking numbers are personal data: no ``repr`` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """``ReturnAddress``; an empty text is a part that was not given."""

    recipient_name: str
    street_address1: str
    city: str
    postal_code: str
    country_or_region: str
    phone: str
    email: str = ""
    street_address2: str = ""
    state_or_province: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class ReturnShipping:
    """Who brings the drives back, and at whose cost."""

    carrier_name: str
    carrier_account_number: str


@dataclass(frozen=True, slots=True, repr=False)
class Package:
    """A parcel on its way. ``ship_date`` is free text, as the service takes and gives it."""

    carrier_name: str
    tracking_number: str
    drive_count: int | None = None
    ship_date: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Papers:
    """``location`` is as the customer spelled it.

    ``subscription`` and ``resource_group`` say where the job stands, and are compared without case; None
    for a job that was filed at the station. ``shipping_information`` and ``encryption_key`` have the names
    of the wire.
    """

    subscription: str | None = None
    resource_group: str | None = None
    location: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    storage_account: str = ""
    client_tenant: str = ""
    return_address: Address | None = None
    return_shipping: ReturnShipping | None = None
    delivery_package: Package | None = None
    return_package: Package | None = None
    shipping_information: Mapping[str, str] | None = None
    encryption_key: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is kept; what was not given is left out."""
        return {
            wire_name(one.name): _shown(value)
            for one in fields(self)
            if (value := getattr(self, one.name)) not in (None, "", {})
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Papers:
        """What ``to_json`` gave. Raises ValueError for anything else."""
        try:
            names = {wire_name(one.name): one.name for one in fields(cls)}
            found = {names[name]: part for name, part in value.items()}
            parts = {name: _part(kind, found[name]) for name, kind in _PARTS.items() if name in found}
            papers = cls(**(found | parts))
        except (TypeError, AttributeError, KeyError):
            raise ValueError("the papers of the job are malformed") from None
        return papers


NO_PAPERS = Papers()
"""Those of a job that was filed at the station."""

_Part = Address | ReturnShipping | Package
_PARTS: Mapping[str, type[_Part]] = {
    "return_address": Address,
    "return_shipping": ReturnShipping,
    "delivery_package": Package,
    "return_package": Package,
}


def wire_name(name: str) -> str:
    """``street_address1`` as ``streetAddress1``."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def part_to_json(part: _Part) -> dict[str, str | int]:
    """On the wire; what is None is left out."""
    pairs = ((wire_name(one.name), getattr(part, one.name)) for one in fields(part))
    return {name: value for name, value in pairs if value is not None}


def _part(kind: type[_Part], value: Mapping[str, Any]) -> _Part:
    names = {wire_name(one.name): one.name for one in fields(kind)}
    return kind(**{names[name]: one for name, one in value.items()})


def _shown(value: Any) -> Any:
    if isinstance(value, _Part):
        return part_to_json(value)
    return dict(value) if isinstance(value, Mapping) else value
