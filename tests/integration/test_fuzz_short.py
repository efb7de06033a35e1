"""A short run of the fuzzer, and all that it ever found, on the code as it is."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.fuzz import campaign, regressions
from tests.fuzz.bases import digest
from tests.fuzz.campaign import Summary
from tests.fuzz.workers import Workers

SEED = 20_240_203
IMAGES = 300


def test_hundreds_of_mutated_drives_give_entries_or_clean_errors_in_bounds() -> None:
    summary = Summary()
    with Workers(2) as workers:
        for _, image, verdict in campaign.run(workers, images=IMAGES, seed=SEED):
            summary.add(image, verdict)
    assert not summary.findings, "\n".join(summary.lines())
    assert summary.images == IMAGES
    # A run that is turned away at the door, or that damages nothing, would prove nothing.
    assert summary.stages["plan"] > IMAGES // 2
    assert summary.stages["open"] > IMAGES // 20
    assert summary.damaged > IMAGES // 10
    assert len(summary.errors) > 5


def test_what_was_ever_found_is_found_no_more() -> None:
    kept = regressions.kept()
    if not kept:
        pytest.skip("nothing was found yet that had to be kept")
    loaded = [regressions.load(path) for path in kept]
    stale = [
        path.name
        for path, each in zip(kept, loaded, strict=True)
        if digest(each.image.base) != each.base_sha256
    ]
    assert not stale, "these were found with another base: bases are never changed, add a new one"
    with Workers(2) as workers:
        found = {
            kept[number].name: verdict.finding.text
            for number, _, verdict in workers.run((number, each.image) for number, each in enumerate(loaded))
            if verdict.finding is not None
        }
    assert found == {}


def test_regressions_are_of_different_bugs() -> None:
    signatures = Counter(regressions.load(path).finding.signature for path in regressions.kept())
    assert [each for each, count in signatures.items() if count > 1] == []
