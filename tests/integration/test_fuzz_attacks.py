"""Volumes that keep to the format, and are made to cost the reader as much as can be."""

from __future__ import annotations

import pytest

from tests.fuzz.bases import base
from tests.fuzz.image import Image
from tests.fuzz.maker.attacks import ATTACKS
from tests.fuzz.verdict import Verdict
from tests.fuzz.workers import Workers

OPEN: dict[str, str] = {}
"""What the reader does not withstand yet, and why."""

CASES = [
    pytest.param(name, marks=[pytest.mark.xfail(reason=OPEN[name], strict=True)] if name in OPEN else [])
    for name in ATTACKS
]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    images = [Image(name, name, base(name).size_bytes, ()) for name in ATTACKS]
    with Workers(2) as workers:
        return {image.name: verdict for _, image, verdict in workers.run(enumerate(images))}


@pytest.mark.parametrize("name", CASES)
def test_a_volume_made_to_be_dear_costs_no_more_than_it_may(name: str, verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts[name]
    assert verdict.finding is None, verdict.finding and verdict.finding.text
    assert verdict.entries > 10
