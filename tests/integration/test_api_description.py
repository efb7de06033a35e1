"""What the API says of itself, tried by schemathesis: whatever is sent, no answer is a failure.

With SCHEMATHESIS=full it takes some minutes and leaves nothing out.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fixtures.certificates import Certificates
from fixtures.install_clients import CannotInstall, python_of
from tests.kit.api import GROUP, SUBSCRIPTION, put_body, serving

JOBS = ("tried-1", "tried-2", "tried-3")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)
IS_FULL = os.environ.get("SCHEMATHESIS") == "full"
PHASES = "coverage,fuzzing,stateful" if IS_FULL else "fuzzing"
EXAMPLES = "200" if IS_FULL else "8"
"""For each operation; the seed is kept, so that what is found is found again."""
WITHIN_S = 3600 if IS_FULL else 300


def _one_of(name: str, values: list[str]) -> dict[str, Any]:
    """Of names at random none would ever be that of a job."""
    return {"name": name, "in": "path", "required": True, "schema": {"enum": values}}


def test_whatever_is_sent_the_server_answers_as_it_says(tmp_path: Path, certificates: Certificates) -> None:
    try:
        python = python_of("schemathesis")
    except CannotInstall as reason:
        pytest.skip(str(reason))
    with serving(tmp_path, certificates) as server:
        token = server.token("operator")
        for job in JOBS:
            server.of_job("PUT", job, put_body(f"S-{job}"))
        described = server.ask("GET", "/openapi.json").body
        names = {"subscriptionId": [SUBSCRIPTION], "resourceGroupName": [GROUP], "jobName": list(JOBS)}
        for path, operations in described["paths"].items():
            if "{jobName}" in path:
                for operation in operations.values():
                    operation["parameters"] += [_one_of(name, values) for name, values in names.items()]
                    operation["parameters"] = [
                        one
                        for one in operation["parameters"]
                        if one.get("$ref", "").rpartition("/")[2] not in names
                    ]
        # A stream of events has no end.
        del described["paths"]["/events"]
        document = tmp_path / "openapi.json"
        document.write_text(json.dumps(described), "utf-8")
        command = [
            str(python),
            *("-m", "schemathesis.cli", "run", str(document), "--url", server.base_url),
            *("--tls-verify", str(certificates.authority), "-H", f"Authorization: Bearer {token}"),
            *("--checks", ",".join(CHECKS), "--phases", PHASES, "--max-examples", EXAMPLES),
            *("--seed", "1", "--no-shrink", "--continue-on-failure", "--request-timeout", "30"),
        ]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert "api.crashed" not in server.said()
        assert "api.station" not in server.said()
