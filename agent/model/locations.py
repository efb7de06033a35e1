"""Where customers ship to, as ``Locations`` of Microsoft.ImportExport shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Location:
    """A place that takes drives in; ``name`` is its display form, such as ``West US``."""

    name: str
    recipient_name: str
    street_address1: str
    city: str
    postal_code: str
    country_or_region: str
    phone: str
    street_address2: str = ""
    state_or_province: str = ""
    additional_shipping_information: str = ""
    supported_carriers: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The short form: ``westus``."""
        return location_key(self.name)


def location_key(name: str) -> str:
    """Names are compared without blanks and case (formats of the service: "West US" or "westus")."""
    return "".join(name.split()).lower()


def find_location(name: str, among: Sequence[Location]) -> Location | None:
    """The one of that name, in either form."""
    return next((one for one in among if one.key == location_key(name)), None)
