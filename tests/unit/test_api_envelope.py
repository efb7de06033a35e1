"""What goes wrong inside the API, as those outside and the log see it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.api.envelope import Envelope, canonical_path
from agent.api.gate import Caller
from agent.errors import (
    ConfigInvalid,
    IngestError,
    JobNotFound,
    MalformedInput,
    SerialConflict,
    StateUnusable,
    StoreRefused,
)
from agent.model.roles import Role
from tests.kit.log import KeptLog

CANARY = "canary-7f3a"


class OpenGate:
    """Admits everybody."""

    async def admit(self, scope: Any) -> Caller:
        return Caller("tester", Role.OPERATOR, "api unix")


async def _answer(error: Exception, log: KeptLog, *, late: bool = False) -> tuple[int, Any, dict[str, str]]:
    """To a request whose endpoint raises ``error``; ``late``: when its answer has begun."""

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        if late:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "scheme": "http"}
    await Envelope(failing, OpenGate(), log)(scope, receive, send)  # type: ignore[arg-type]
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body) if body else None, headers


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (MalformedInput("a.b: is missing"), 400, "InvalidRequestContent"),
        (JobNotFound("there is no job x"), 404, "ResourceNotFound"),
        (SerialConflict("taken"), 409, "SerialConflict"),
        (StateUnusable(f"catalog /srv/{CANARY} is damaged"), 503, "ServiceUnavailable"),
        (ConfigInvalid(CANARY), 503, "ServiceUnavailable"),
        (StoreRefused(CANARY), 500, "InternalServerError"),
        (RuntimeError(CANARY), 500, "InternalServerError"),
        (KeyError(CANARY), 500, "InternalServerError"),
    ],
)
async def test_an_error_is_an_answer_without_what_is_not_for_outside(
    error: Exception, status: int, code: str
) -> None:
    log = KeptLog()
    found, body, headers = await _answer(error, log)
    assert (found, body["error"]["code"]) == (status, code)
    assert CANARY not in json.dumps(body)
    assert headers["x-ms-request-id"]
    assert ("retry-after" in headers) == (status == 503)


async def test_a_surprise_stands_in_the_log_with_its_place_and_without_its_text() -> None:
    log = KeptLog()
    _, _, headers = await _answer(RuntimeError(CANARY), log)
    (told,) = log.named("api.crashed")
    assert told["error"] == "RuntimeError"
    assert told["request"] == headers["x-ms-request-id"]
    assert "test_api_envelope.py" in told["at"]
    assert CANARY not in str(told)


async def test_a_surprise_in_an_answer_that_has_begun_ends_it() -> None:
    log = KeptLog()
    status, body, _ = await _answer(RuntimeError(CANARY), log, late=True)
    assert (status, body) == (200, None)
    assert log.named("api.crashed")


async def test_a_message_is_one_line_whatever_it_quotes() -> None:
    error: IngestError = JobNotFound("there is no\r\njob \x1b[31mred")
    _, body, _ = await _answer(error, KeptLog())
    assert body["error"]["message"].isprintable()


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("/SUBSCRIPTIONS/Sub/ResourceGROUPS/Jobs-1", "/subscriptions/Sub/resourceGroups/Jobs-1"),
        ("/x/", "/x"),
        ("/", "/"),
        ("//", "/"),
        ("", ""),
    ],
)
def test_words_of_a_path_have_one_spelling_and_names_their_own(path: str, canonical: str) -> None:
    assert canonical_path(path) == canonical
