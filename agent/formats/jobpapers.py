"""The papers of a job in the service's JSON: addresses, parcels and tags, read part by part.

Source of the fields and of what is required: ``JobDetails`` and ``UpdateJobParameters`` of
Microsoft.ImportExport, versions 2016-11-01 to 2021-01-01. Every complaint names its field.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from agent.errors import MalformedInput
from agent.formats.json_fields import Fields
from agent.model.papers import Address, Package, ReturnShipping, wire_name

MAX_TEXT_CHARS = 256
MAX_TAGS = 50
MAX_TAG_NAME_CHARS = 512
"""Limits of tags are those of Azure Resource Manager."""
MAX_ACCOUNT_ID_CHARS = 1024
MAX_PARCEL_DRIVES = 10_000

RETURN_ADDRESS_NEEDS = frozenset(
    {"recipient_name", "street_address1", "city", "postal_code", "country_or_region", "phone", "email"}
)
ADDRESS_FIELDS = (
    "recipientName",
    "streetAddress1",
    "streetAddress2",
    "city",
    "stateOrProvince",
    "postalCode",
    "countryOrRegion",
    "phone",
)
SHIPPING_FIELDS = (*ADDRESS_FIELDS, "additionalInformation")

_ACCOUNT_ID = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/"
    r"Microsoft\.(Classic)?Storage/storageAccounts/[a-z0-9]{3,24}\Z",
    re.IGNORECASE | re.ASCII,
)

T = TypeVar("T")


class Complaints:
    """Complaints about several parts of one request, so that all of them are told at once."""

    def __init__(self) -> None:
        self.found: list[MalformedInput] = []

    def of(self, read: Callable[[], T]) -> T | None:
        """What ``read`` gives; when it complains, the complaint is kept, and None given."""
        try:
            return read()
        except MalformedInput as error:
            self.found.append(error)
            return None


def one_line(fields: Fields, key: str, at_most: int = MAX_TEXT_CHARS) -> str | None:
    """A text without control characters; None when it is absent. Raises MalformedInput."""
    if not fields.gives(key):
        return None
    text = fields.text(key)
    if len(text) > at_most:
        raise MalformedInput(f"{fields.path(key)}: has {len(text)} characters, at most {at_most} are allowed")
    if any(ch < " " or ch == "\x7f" for ch in text):
        raise MalformedInput(f"{fields.path(key)}: holds a control character")
    return text


def read_return_address(properties: Fields, complaints: Complaints) -> Address | None:
    """``returnAddress``; None when it is absent or a part of it is wrong."""
    found = complaints.of(lambda: properties.maybe("returnAddress"))
    if found is None:
        return None
    values = {name: complaints.of(_address_part(found, name)) for name in Address.__dataclass_fields__}
    if any(values[name] is None for name in RETURN_ADDRESS_NEEDS):
        return None
    return Address(**{name: value or "" for name, value in values.items()})


def read_return_shipping(properties: Fields, complaints: Complaints) -> ReturnShipping | None:
    """``returnShipping``; None when it is absent or a part of it is wrong."""
    found = complaints.of(lambda: properties.maybe("returnShipping"))
    if found is None:
        return None
    carrier = complaints.of(lambda: _needed(found, "carrierName"))
    account = complaints.of(lambda: _needed(found, "carrierAccountNumber"))
    return None if carrier is None or account is None else ReturnShipping(carrier, account)


def read_package(properties: Fields, key: str, complaints: Complaints) -> Package | None:
    """``deliveryPackage`` or ``returnPackage``; ``driveCount`` and ``shipDate`` need not be there."""
    found = complaints.of(lambda: properties.maybe(key))
    if found is None:
        return None
    carrier = complaints.of(lambda: _needed(found, "carrierName"))
    number = complaints.of(lambda: _needed(found, "trackingNumber"))
    count = complaints.of(lambda: found.number("driveCount", MAX_PARCEL_DRIVES))
    date = complaints.of(lambda: one_line(found, "shipDate"))
    return None if carrier is None or number is None else Package(carrier, number, count, date)


def read_shipping_information(properties: Fields, complaints: Complaints) -> dict[str, str] | None:
    """``shippingInformation`` as it was sent: old clients have to give parts of it, new ones need not."""
    found = complaints.of(lambda: properties.maybe("shippingInformation"))
    if found is None:
        return None
    parts = {name: complaints.of(_line_reader(found, name)) for name in SHIPPING_FIELDS}
    return {name: text for name, text in parts.items() if text is not None}


def read_tags(body: Fields) -> dict[str, str] | None:
    """``tags``; None when they are absent. Raises MalformedInput."""
    tags = body.texts("tags", MAX_TAGS)
    for name, value in (tags or {}).items():
        if not 1 <= len(name) <= MAX_TAG_NAME_CHARS or any("\ud800" <= ch <= "\udfff" for ch in name):
            raise MalformedInput(f"tags: the name of a tag is not 1 to {MAX_TAG_NAME_CHARS} whole characters")
        if len(value) > MAX_TEXT_CHARS:
            raise MalformedInput(f"tags: the value of a tag has more than {MAX_TEXT_CHARS} characters")
        if any(ch < " " or ch == "\x7f" for ch in name + value):
            raise MalformedInput("tags: a tag holds a control character")
    return tags


def read_storage_account(properties: Fields) -> str:
    """``storageAccountId`` of a (classic) storage account; empty when absent. Raises MalformedInput."""
    text = one_line(properties, "storageAccountId", MAX_ACCOUNT_ID_CHARS) or ""
    if text and not _ACCOUNT_ID.match(text):
        raise MalformedInput(
            f"{properties.path('storageAccountId')}: is no id of a storage account "
            "(/subscriptions/…/resourceGroups/…/providers/Microsoft.Storage/storageAccounts/NAME)"
        )
    return text


def read_encryption_key(properties: Fields) -> dict[str, str] | None:
    """``encryptionKey``, of which this station does ``MicrosoftManaged``. Raises MalformedInput."""
    found = properties.maybe("encryptionKey")
    kind = found.text("kekType") if found is not None else ""
    if found is not None and kind not in ("", "MicrosoftManaged"):
        raise MalformedInput(
            f"{found.path('kekType')}: {kind[:40]!r} is not done here; the station seals keys at rest "
            "(MicrosoftManaged)"
        )
    return {"kekType": kind} if kind else None


def _needed(fields: Fields, key: str) -> str:
    text = one_line(fields, key)
    if not text or not text.strip():
        raise MalformedInput(f"{fields.path(key)}: is missing")
    return text


def _address_part(fields: Fields, name: str) -> Callable[[], str | None]:
    key = wire_name(name)
    if name in RETURN_ADDRESS_NEEDS:
        return lambda: _needed(fields, key)
    return lambda: one_line(fields, key)


def _line_reader(fields: Fields, key: str) -> Callable[[], str | None]:
    return lambda: one_line(fields, key)
