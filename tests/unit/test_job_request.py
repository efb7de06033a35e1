"""Job requests in the service's shape: read with the field named, answered without any key."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import MalformedInput
from agent.formats.jobrequest import job_to_json, read_job_request
from agent.model.blobs import AccessTier
from agent.model.codes import Disposition, LogLevel
from agent.model.going import Going
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.job import DEFAULT_DIAGNOSTICS, Destination, Drive, Job, JobSpec
from agent.model.keys import Password, RecoveryPassword
from agent.model.secrets import Secret
from agent.model.states import DriveState, JobState
from agent.model.tally import Count, Tally
from agent.model.treatment import Treatment
from agent.model.verification import Depth, Verification, VerifiedCounts

SAMPLES = Path(__file__).parents[1] / "data/rest"
NAME = JobName.parse("harbour-1")
GROUPS = ["000011", "111111", "222222", "333333", "444444", "555555", "666666", "720885"]
KEY = "-".join(GROUPS)
NOON = datetime(2024, 2, 3, 12, tzinfo=UTC)


def drive(serial: str = "SMPL0001A", **fields: Any) -> dict[str, Any]:
    return {
        "driveId": serial,
        "bitLockerKey": KEY,
        "manifestFile": "\\DriveManifest.xml",
        "manifestHash": "13A78A74D888EB2C318AADA19CE654A1",
        "driveHeaderHash": "",
    } | fields


def request(*drives: dict[str, Any], **properties: Any) -> bytes:
    body = {"jobType": "Import", "driveList": list(drives) or [drive()]} | properties
    return json.dumps({"location": "West US", "properties": body}).encode()


def parsed(data: bytes, name: JobName, **options: Any) -> JobSpec:
    return read_job_request(data, name, **options).spec


def refused(data: bytes, **options: Any) -> str:
    with pytest.raises(MalformedInput) as caught:
        parsed(data, NAME, **options)
    assert "\n" not in caught.value.detail
    return caught.value.detail


def test_request_is_read_whole() -> None:
    data = request(
        drive(),
        drive("SMPL 0002", manifestFile=None, manifestHash="", bitLockerKey="correct horse"),
        diagnosticsPath="logs-here",
        logLevel="Verbose",
        backupDriveManifest=True,
        destination="data/2024/",
        disposition="rename",
        returnAddress={"unknown": "ignored"},
    )
    spec = parsed(data, NAME)
    first, second = spec.drives
    assert first.serial == SerialNumber.parse("SMPL0001A")
    assert first.credential == RecoveryPassword(Secret(KEY))
    assert first.manifest_file == "\\DriveManifest.xml"
    assert first.manifest_hash == "13A78A74D888EB2C318AADA19CE654A1"
    assert str(second.serial) == "SMPL 0002"
    assert second.credential == Password(Secret("correct horse"))
    assert second.manifest_file is None
    assert second.manifest_hash is None
    assert spec.name == NAME
    assert spec.destination == Destination(ContainerName("data"), "2024/")
    assert spec.disposition is Disposition.RENAME
    assert spec.diagnostics == ContainerName("logs-here")
    assert spec.log_level is LogLevel.VERBOSE
    assert spec.backup_manifest
    assert not spec.allow_unencrypted


def test_what_is_asked_for_each_blob_is_read_and_answered_again() -> None:
    asked = {
        "verify": "readback:7%",
        "contentMd5": True,
        "sha256": True,
        "accessTier": "Cold",
        "fileFacts": False,
    }
    spec = parsed(request(**asked), NAME)
    wanted = Verification(Depth.READBACK, 7)
    assert spec.treatment == Treatment(wanted, True, True, AccessTier.COLD, file_facts=False)
    told: Any = job_to_json(replace(a_job(Drive(SerialNumber.parse("S 1"))), treatment=spec.treatment))
    assert {key: told["properties"][key] for key in asked} == asked


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"verify": "twice"},
            "properties.verify: 'twice' is none of transit, manifest, readback, readback:N%",
        ),
        ({"verify": "readback:0%"}, "properties.verify: readback of 0 % of the files: 1 to 100 are possible"),
        ({"verify": "transit:5%"}, "properties.verify: transit is done for all files"),
        ({"verify": "readback", "accessTier": "Archive"}, "properties.verify: a blob in the tier Archive"),
        ({"accessTier": "Lukewarm"}, "properties.accessTier: 'Lukewarm' is none of Hot, Cool, Cold, Archive"),
        ({"sha256": "yes"}, "properties.sha256: is neither true nor false"),
    ],
)
def test_what_cannot_be_done_for_a_blob_is_refused_with_its_field(wrong: dict[str, Any], said: str) -> None:
    assert refused(request(**wrong)).startswith(said)


def test_a_drive_without_a_manifest_cannot_be_verified_by_one() -> None:
    data = request(drive(manifestFile=None, manifestHash=""), destination="data", verify="manifest")
    assert refused(data).startswith("drive SMPL0001A has no manifest to verify its files by")


def test_fields_that_are_left_out_have_the_services_defaults() -> None:
    spec = parsed(request(), NAME)
    assert spec.treatment == Treatment()
    assert spec.diagnostics == DEFAULT_DIAGNOSTICS
    assert spec.log_level is LogLevel.ERROR
    assert spec.disposition is Disposition.NO_OVERWRITE
    assert not spec.backup_manifest
    assert spec.destination is None


def test_sample_of_the_service_is_read_once_its_key_is_a_real_one() -> None:
    text = (SAMPLES / "put-job.request.json").read_text(encoding="utf-8")
    made_up = "000000-111111-222222-333333-444444-555555-666666-777777"
    assert refused(text.encode()) == (
        "properties.driveList[0].bitLockerKey: group 8 of the recovery password has a wrong digit (check sum)"
    )
    asked = read_job_request(text.replace(made_up, KEY).encode(), NAME)
    assert [str(one.serial) for one in asked.spec.drives] == ["SMPL0001A"]
    assert asked.spec.log_level is LogLevel.VERBOSE
    assert asked.spec.backup_manifest
    assert not asked.ship


def test_export_sample_is_refused_with_a_sentence() -> None:
    said = refused((SAMPLES / "put-export-job.request.json").read_bytes())
    assert said.startswith("properties.jobType: this station takes drives in; Export jobs")


@pytest.mark.parametrize(
    ("state", "ship"), [("Shipping", True), ("", False), (None, False), ("Creating", False)]
)
def test_state_decides_whether_the_job_ships(state: str | None, ship: bool) -> None:
    assert read_job_request(request(state=state), NAME).ship is ship
    assert read_job_request(request(), NAME).ship is False


def test_what_the_command_says_wins_over_the_file() -> None:
    spec = parsed(
        request(destination="data", disposition="rename"),
        NAME,
        destination=Destination.parse("other"),
        disposition=Disposition.OVERWRITE,
    )
    assert str(spec.destination) == "other/"
    assert spec.disposition is Disposition.OVERWRITE


def test_unencrypted_drive_is_taken_when_command_or_file_allows_it() -> None:
    bare = drive(bitLockerKey=None)
    assert refused(request(bare)).startswith("properties.driveList[0].bitLockerKey: is missing")
    assert parsed(request(bare), NAME, allow_unencrypted=True).allow_unencrypted
    assert parsed(request(bare, allowUnencrypted=True), NAME).drives[0].credential is None


def bad_group(number: int, text: str) -> str:
    return "-".join([*GROUPS[: number - 1], text, *GROUPS[number:]])


WRONG_DRIVES = [
    ({"bitLockerKey": bad_group(3, "222223")}, "bitLockerKey: group 3 of the recovery password has a wrong"),
    ({"bitLockerKey": bad_group(3, "22222O")}, "bitLockerKey: group 3 of the recovery password is not 6"),
    ({"bitLockerKey": 12}, "bitLockerKey: is not a string"),
    ({"bitLockerKey": ""}, "bitLockerKey: is missing"),
    ({"bitLockerKey": "a\ud800"}, "bitLockerKey: holds half a character"),
    ({"driveId": ""}, "driveId: the serial number is empty"),
    ({"driveId": None}, "driveId: the serial number is empty"),
    ({"driveId": "S\x1b[2J"}, "driveId: the serial number holds a character that is not printable ASCII"),
    ({"driveId": ["S"]}, "driveId: is not a string"),
    ({"manifestHash": "12"}, "manifestHash: is not 32 (MD5) or 64 (SHA-256) hex digits"),
    ({"manifestFile": "\\a\0b"}, "manifestFile: holds a control character"),
    ({"manifestFile": "\\\udfff"}, "manifestFile: holds half a character"),
    ({"manifestFile": "\\" * 40_000}, "manifestFile: has 40000 characters, at most 32767 are allowed"),
    ({"manifestFile": ""}, "manifestFile: is missing, and properties.destination does not say"),
    ({"driveHeaderHash": "0" * 257}, "driveHeaderHash: has 257 characters, at most 256 are allowed"),
    ({"driveId": "OTHER"}, "driveId: stands in driveList[0] already"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG_DRIVES)
def test_wrong_field_of_a_drive_is_named(wrong: dict[str, Any], said: str) -> None:
    detail = refused(request(drive("OTHER"), drive(**wrong)))
    assert detail.startswith(f"properties.driveList[1].{said}")
    key = wrong.get("bitLockerKey")
    assert not (isinstance(key, str) and key and key in detail)
    assert KEY not in detail


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"jobType": "Teleport"}, "properties.jobType: 'Teleport' is not Import"),
        ({"jobType": 3}, "properties.jobType: is not a string"),
        ({"state": "Closed"}, "properties.state: 'Closed' is not Shipping"),
        ({"diagnosticsPath": "A"}, "properties.diagnosticsPath: container name 'A' is not allowed"),
        ({"destination": "$root/a"}, "properties.destination: a whole volume cannot go to $root"),
        ({"logLevel": "Loud"}, "properties.logLevel: 'Loud' is none of Error, Verbose"),
        (
            {"disposition": "burn"},
            "properties.disposition: 'burn' is none of no-overwrite, overwrite, rename",
        ),
        ({"backupDriveManifest": "yes"}, "properties.backupDriveManifest: is neither true nor false"),
        ({"driveList": {}}, "properties.driveList: is not a list"),
        ({"driveList": []}, "properties.driveList: is missing or empty"),
        ({"driveList": None}, "properties.driveList: is missing or empty"),
        ({"driveList": [3]}, "properties.driveList[0]: is not a JSON object"),
        ({"driveList": [{}] * 11}, "properties.driveList: holds 11 entries, at most 10 are allowed"),
    ],
)
def test_wrong_field_of_a_job_is_named(wrong: dict[str, Any], said: str) -> None:
    assert refused(request(**wrong)).startswith(said)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the request is not JSON: line 1 column 1"),
        (b'{"properties": {"driveList": [{"bitLockerKey": "canary', "the request is not JSON: line 1 column"),
        (b'"\xff"', "the request is not JSON: byte 1 is not UTF-8"),
        (b"[" * 200_000, "the request is not JSON: it is nested too deeply"),
        (b"1" * 5_000, "the request is not JSON: it holds a number that is too long"),
        (b"[]", "the request: is not a JSON object"),
        (b"{}", "properties: is missing"),
        (b'{"properties": []}', "properties: is not a JSON object"),
        (b" " * ((1 << 20) + 1), "the request has 1048577 bytes, at most 1048576 are allowed"),
    ],
)
def test_what_is_no_request_is_refused(data: bytes, said: str) -> None:
    assert refused(data).startswith(said)


def test_refusal_holds_no_key_anywhere_in_its_chain() -> None:
    broken = request().replace(b"}]", b"]")
    with pytest.raises(MalformedInput) as caught:
        parsed(broken, NAME)
    link: BaseException | None = caught.value
    while link is not None:
        assert KEY not in repr(vars(link)) + repr(link.args)
        link = link.__cause__ or link.__context__


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["driveId", "bitLockerKey", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
PATHS = [
    ("properties",),
    *(("properties", key) for key in ("jobType", "driveList", "state", "logLevel", "diagnosticsPath")),
    *(("properties", key) for key in ("destination", "disposition", "backupDriveManifest")),
    *(("properties", "driveList", 0, key) for key in drive()),
]


@given(st.sampled_from(PATHS), json_values)
def test_any_value_in_any_field_is_read_or_refused_in_one_line(path: tuple[Any, ...], value: object) -> None:
    body = copy.deepcopy(json.loads(request()))
    inner = body
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    said = "properties"
    try:
        parsed(json.dumps(body).encode(), NAME)
    except MalformedInput as refusal:
        said = refusal.detail
    assert said.startswith("properties")
    assert said.isprintable()
    assert KEY not in said


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(MalformedInput):
        parsed(data, NAME)


def a_job(*drives: Drive, state: JobState = JobState.CREATING) -> Job:
    return Job(
        name=NAME,
        state=state,
        drives=drives,
        destination=Destination.parse("data/box/"),
        disposition=Disposition.RENAME,
        diagnostics=DEFAULT_DIAGNOSTICS,
        log_level=LogLevel.VERBOSE,
        backup_manifest=True,
        allow_unencrypted=False,
        cancel_requested=False,
        created=NOON,
        updated=NOON,
    )


def test_answer_before_the_transfer_tells_nothing_of_a_transfer() -> None:
    answer: Any = json.loads(json.dumps(job_to_json(a_job(Drive(SerialNumber.parse("S 1"))))))
    assert answer["name"] == "harbour-1"
    assert answer["type"] == "Microsoft.ImportExport/jobs"
    assert answer["properties"] == {
        "jobType": "Import",
        "diagnosticsPath": "waimportexport",
        "logLevel": "Verbose",
        "backupDriveManifest": True,
        "cancelRequested": False,
        "state": "Creating",
        "driveList": [
            {
                "driveId": "S 1",
                "manifestFile": "",
                "manifestHash": "",
                "driveHeaderHash": "",
                "state": "Specified",
            }
        ],
        "disposition": "rename",
        "allowUnencrypted": False,
        "uploadStreams": False,
        "contentMd5": False,
        "sha256": False,
        "fileFacts": True,
        "created": "2024-02-03T12:00:00+00:00",
        "updated": "2024-02-03T12:00:00+00:00",
        "destination": "data/box/",
    }


def test_answer_after_the_transfer_tells_it_in_the_services_words() -> None:
    done = Drive(
        serial=SerialNumber.parse("S1"),
        state=DriveState.COMPLETED_MORE_INFO,
        manifest_file="\\m.xml",
        manifest_hash="0" * 32,
        copy_status="CompletedWithErrors",
        percent_complete=100,
        tally=Tally(Count(4, 40), Count(2, 20), Count(1, 10), Count(1, 10)),
        error_log_uri="https://x/e.xml",
        verbose_log_uri="https://x/v.xml",
        manifest_uri="https://x/m.xml",
        verified=VerifiedCounts(manifest=1, unknown=1),
        going=Going(throttled_requests=7),
    )
    answer: Any = job_to_json(a_job(done, state=JobState.PACKAGING))
    assert answer["properties"]["percentComplete"] == 100
    assert answer["properties"]["driveList"] == [
        {
            "driveId": "S1",
            "manifestFile": "\\m.xml",
            "manifestHash": "0" * 32,
            "driveHeaderHash": "",
            "state": "CompletedMoreInfo",
            "percentComplete": 100,
            "bytesSucceeded": 20,
            "copyStatus": "CompletedWithErrors",
            "verboseLogUri": "https://x/v.xml",
            "errorLogUri": "https://x/e.xml",
            "manifestUri": "https://x/m.xml",
            "throttledRequests": 7,
            "cutRequests": 0,
            "tally": {
                "discovered": {"files": 4, "bytes": 40},
                "done": {"files": 2, "bytes": 20},
                "failed": {"files": 1, "bytes": 10},
                "skipped": {"files": 1, "bytes": 10},
            },
            "verified": {"transit": 0, "manifest": 1, "readback": 0, "differ": 0, "unknown": 1},
        }
    ]


def test_answer_is_a_request_again_but_for_the_keys() -> None:
    spec = parsed(request(drive(), destination="data/box/", disposition="rename"), NAME)
    told = a_job(Drive(spec.drives[0].serial, manifest_file="\\m.xml", manifest_hash="0" * 32))
    answer: Any = job_to_json(told)
    answer["properties"]["driveList"][0]["bitLockerKey"] = KEY
    again = parsed(json.dumps(answer).encode(), NAME)
    assert again.destination == told.destination
    assert again.disposition is told.disposition
    assert again.log_level is told.log_level
    assert again.drives[0].manifest_hash == "0" * 32
