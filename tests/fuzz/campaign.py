"""Many images of one seed, what they showed, and a report in lines."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.fuzz.image import Image
from tests.fuzz.verdict import Finding, Verdict
from tests.fuzz.workers import Result, Workers

SLOWEST = 5


@dataclass
class Summary:
    """What a campaign showed. ``findings`` has the first image of each signature and how often it came."""

    images: int = 0
    findings: dict[tuple[str, str], tuple[Finding, Image]] = field(default_factory=dict)
    times: Counter[tuple[str, str]] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    entries: int = 0
    damaged: int = 0
    streams_read: int = 0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    most_read: float = 0.0
    """Bytes read from a drive until the end of its scan, as a multiple of its size: the worst image's."""
    slowest: list[tuple[float, str]] = field(default_factory=list)

    def add(self, image: Image, verdict: Verdict) -> None:
        """Count one image in."""
        self.images += 1
        self.stages[verdict.stage or "lost"] += 1
        self.errors.update(verdict.errors)
        self.entries += verdict.entries
        self.damaged += verdict.damaged
        self.streams_read += verdict.streams_read
        self.cpu_s += verdict.cpu_s
        self.peak_bytes = max(self.peak_bytes, verdict.peak_bytes)
        self.most_read = max(self.most_read, verdict.scan_bytes / max(image.size_bytes, 1 << 20))
        heapq.heappush(self.slowest, (verdict.cpu_s, image.name))
        if len(self.slowest) > SLOWEST:
            heapq.heappop(self.slowest)
        if verdict.finding is not None:
            key = verdict.finding.signature
            self.times[key] += 1
            kept = self.findings.get(key)
            if kept is None or image.name < kept[1].name:
                self.findings[key] = verdict.finding, image

    def lines(self) -> Iterator[str]:
        """For people."""
        each_ms = self.cpu_s / max(1, self.images) * 1000
        yield f"{self.images} images, {self.cpu_s:.0f} s of CPU, {each_ms:.1f} ms each"
        reached = ", ".join(f"{stage} {count}" for stage, count in self.stages.most_common())
        yield f"got as far as: {reached}"
        yield f"{self.entries} entries, {self.damaged} damaged records, {self.streams_read} streams read"
        for error, count in sorted(self.errors.items()):
            yield f"  clean  {error} {count}"
        yield f"largest growth of a worker: {self.peak_bytes >> 20} MiB"
        yield f"most read to open and scan a drive: {self.most_read:.1f} times its size"
        slow = ", ".join(f"{name} {cpu_s:.2f} s" for cpu_s, name in sorted(self.slowest, reverse=True))
        yield f"slowest images: {slow}"
        for key, (finding, image) in sorted(self.findings.items()):
            yield f"FOUND {self.times[key]} times, first by image {image.name} ({image.base}): {finding.text}"
            for step in image.steps:
                yield f"      {step}"
        yield f"{len(self.findings)} findings"


def run(workers: Workers, *, images: int, seed: int, first: int = 0) -> Iterator[Result]:
    """Images number ``first`` and on of a seed, judged."""
    return workers.run((number, seed) for number in range(first, first + images))
