"""Microsoft's own clients of the job API, unchanged, against a running server: over TLS, with a token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from fixtures.certificates import Certificates
from fixtures.install_clients import CannotInstall, python_of
from tests.kit.api import GROUP, KEY, SHIP, SUBSCRIPTION, Refused, Sdk, Server, put_body, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("api"), certificates) as found:
        yield found


@pytest.fixture(scope="module", params=["0.1.0", "1.0.0b1"])
def sdk(request: pytest.FixtureRequest, server: Server) -> Iterator[Sdk]:
    try:
        python = python_of(request.param)
    except CannotInstall as reason:
        pytest.skip(str(reason))
    found = Sdk(python, server, server.token("operator"))
    yield found
    found.close()


@pytest.fixture
def job(request: pytest.FixtureRequest, sdk: Sdk) -> str:
    """A name of its own for each test and version."""
    generation = "old" if "0.1.0" in request.node.callspec.id else "new"
    return f"{generation}-{crc32(request.node.name.encode())}"


def _serial(job: str) -> str:
    return f"S-{job}"


def _create(sdk: Sdk, job: str, **options: Any) -> dict[str, Any]:
    created: dict[str, Any] = sdk("create", job=job, body=put_body(_serial(job)), **options)
    return created


def test_what_is_created_is_answered_as_the_service_does(sdk: Sdk, job: str) -> None:
    created = _create(sdk, job)
    assert created["id"] == (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.ImportExport/jobs/{job}"
    )
    assert created["type"] == "Microsoft.ImportExport/jobs"
    properties = created["properties"]
    assert properties["state"] == "Creating"
    assert properties["provisioning_state"] == "Succeeded"
    assert properties["shipping_information"]["street_address1"] == "2 Dock"
    assert properties["return_address"]["city"] == "Port"
    (drive,) = properties["drive_list"]
    assert drive["drive_id"] == _serial(job)
    assert drive["state"] == "Specified"
    assert "bit_locker_key" not in drive
    assert "percent_complete" not in properties
    assert sdk("get", job=job) == created


def test_keys_come_out_by_the_one_call_that_asks_for_them(sdk: Sdk, job: str) -> None:
    _create(sdk, job)
    assert sdk("keys", job=job) == [{"drive_id": _serial(job), "bit_locker_key": KEY}]
    assert KEY not in str([sdk("get", job=job), sdk("list"), sdk("list_group")])


def test_a_job_is_shipped_with_its_parcel(sdk: Sdk, job: str) -> None:
    _create(sdk, job)
    shipped = sdk("update", job=job, body={"properties": SHIP})["properties"]
    assert shipped["state"] == "Shipping"
    assert shipped["delivery_package"]["tracking_number"] == "TRK1"
    assert shipped["delivery_package"]["drive_count"] == 1


def test_a_cancel_in_creating_is_a_flag_and_the_job_can_go(sdk: Sdk, job: str) -> None:
    _create(sdk, job)
    cancelled = sdk("update", job=job, body={"properties": {"cancelRequested": True}})["properties"]
    assert (cancelled["cancel_requested"], cancelled["state"]) == (True, "Creating")
    assert sdk("delete", job=job) is None
    with pytest.raises(Refused) as refusal:
        sdk("get", job=job)
    assert refusal.value.told["status"] == 404
    assert refusal.value.told["code"] == "ResourceNotFound"


def test_a_parcel_alone_leaves_the_state(sdk: Sdk, job: str) -> None:
    _create(sdk, job)
    parcel = {**SHIP["deliveryPackage"], "driveCount": 0}
    changed = sdk("update", job=job, body={"properties": {"deliveryPackage": parcel}})["properties"]
    assert (changed["state"], changed["delivery_package"]["drive_count"]) == ("Creating", 0)


def test_what_was_got_can_be_put_again_without_its_keys(sdk: Sdk, job: str) -> None:
    _create(sdk, job)
    body = put_body(_serial(job), key=None, logLevel="Error")
    assert sdk("create", job=job, body=body)["properties"]["log_level"] == "Error"
    assert sdk("keys", job=job)[0]["bit_locker_key"] == KEY


def test_lists_go_on_from_page_to_page(sdk: Sdk, job: str) -> None:
    names = [f"{job}-{number}" for number in range(3)]
    for name in names:
        _create(sdk, name)
    whole, grouped = sdk("list", options={"top": 1}), sdk("list_group", options={"top": 2})
    assert set(names) <= {one["name"] for one in whole}
    assert [one["name"] for one in whole] == [one["name"] for one in grouped]
    assert all(one["properties"]["drive_list"] for one in whole)
    assert not any("drive_list" in one["properties"] for one in grouped)


def test_lists_are_filtered(sdk: Sdk, job: str) -> None:
    _create(sdk, job)
    parcel = {"carrierName": "FedEx", "trackingNumber": f"N-{job}", "driveCount": 1, "shipDate": "today"}
    sdk("update", job=job, body={"properties": {"deliveryPackage": parcel}})
    wanted = f"state eq 'Creating' and trackingnumber eq 'N-{job}' and type eq 'Import'"
    assert [one["name"] for one in sdk("list", options={"filter": wanted})] == [job]
    assert sdk("list", options={"filter": "type eq 'Export'"}) == []
    with pytest.raises(Refused) as refusal:
        sdk("list", options={"filter": "x eq 1"})
    assert refusal.value.told["status"] == 400


def test_locations_are_told_under_both_names(sdk: Sdk) -> None:
    (location,) = sdk("locations")
    assert location["name"] == "West US"
    assert sdk("location", name="West US") == sdk("location", name="westus") == location
    assert location["alternate_locations"] == ["/providers/Microsoft.ImportExport/locations/westus"]
    with pytest.raises(Refused) as refusal:
        sdk("location", name="Mars")
    assert refusal.value.told["status"] == 404


def test_operations_are_told(sdk: Sdk) -> None:
    assert {"Microsoft.ImportExport/jobs/write", "Microsoft.ImportExport/jobs/delete"} <= {
        one["name"] for one in sdk("operations")
    }


def test_everything_that_is_wrong_is_told_with_its_field(sdk: Sdk, job: str) -> None:
    body = put_body(_serial(job), key="000011-111111-222222-333333-444444-555555-666666-777777")
    body["properties"]["deliveryPackage"] = {**SHIP["deliveryPackage"], "trackingNumber": ""}
    body["location"] = "Mars"
    with pytest.raises(Refused) as refusal:
        sdk("create", job=job, body=body)
    told = refusal.value.told
    assert (told["status"], told["code"]) == (400, "InvalidRequestContent")
    assert {one["target"] for one in told["details"]} == {
        "properties.driveList[0].bitLockerKey",
        "properties.deliveryPackage.trackingNumber",
        "location",
    }
    assert "group 8" in str(told)
    assert "777777" not in str(told)


def test_a_token_that_is_none_is_refused(sdk: Sdk, server: Server, job: str) -> None:
    python = Path(sdk._process.args[0])  # type: ignore[index]
    stranger = Sdk(python, server, "dia_000000000000_" + "x" * 43)
    try:
        with pytest.raises(Refused) as refusal:
            stranger("list")
    finally:
        stranger.close()
    assert refusal.value.told["status"] == 401
