"""A fleet at work: many stations at once, and a catalog with many jobs. Run with -s for the figures."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from itertools import pairwise

from agent.catalog import Catalog, JobQuery
from agent.catalog.listing import JobPage
from agent.model.states import JobState
from tests.integration.fleet_cases import Fleet

STATIONS, DRIVES = 8, 1000
JOBS, DRIVES_A_JOB, PAGE = 10_000, 10, 100

JOBS_SQL = """
INSERT INTO job (name, state, disposition, diagnostics, log_level, backup_manifest, allow_unencrypted,
                 cancel_requested, created, updated, destination_container, subscription, resource_group)
SELECT 'box-' || n, CASE WHEN n % 10 = 0 THEN 'Shipping' ELSE 'Packaging' END, 'rename', 'waimportexport',
       'Error', false, true, false, timestamp '2026-01-01' + n * interval '1 second',
       now(), 'data', 'sub', 'group'
FROM generate_series(1, {jobs}) AS n
"""
DRIVES_SQL = """
INSERT INTO drive (job_id, position, serial, serial_shown, state, header_hash, percent_complete,
                   discovered_files, discovered_bytes, done_files, done_bytes,
                   failed_files, failed_bytes, skipped_files, skipped_bytes)
SELECT job.id, n, upper(job.name) || 'D' || n, upper(job.name) || 'D' || n,
       CASE job.state WHEN 'Shipping' THEN 'Specified' ELSE 'Completed' END, '', 0, 0, 0, 0, 0, 0, 0, 0, 0
FROM job CROSS JOIN generate_series(0, {drives} - 1) AS n
"""

# One station with 125 bays: it tries drives in an order of its own, as if all were plugged in everywhere,
# until its bays are full, and prints those it got and how many it tried.
CLAIMER = """
import asyncio, json, random, sys
from pathlib import Path
from agent.catalog import open_catalog
from agent.catalog.server import Server
from agent.errors import DriveBusy
from agent.model.identity import JobName, SerialNumber

async def main(url, station, key_file, jobs, drives):
    server = Server(url, station, f"holder of {station}", 600.0)
    got = []
    async with open_catalog(server, Path(key_file)) as catalog:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        order = list(range(int(jobs) * int(drives)))
        random.Random(station).shuffle(order)
        tries = 0
        for number in order:
            if len(got) == len(order) // 8:
                break
            tries += 1
            job, place = divmod(number, int(drives))
            name = JobName.parse(f"box-{(job + 1) * 10}")
            drive = SerialNumber.parse(f"{name.text.upper()}D{place}")
            try:
                claim, _ = await catalog.claim_drive(server, name, drive)
            except DriveBusy:
                continue
            got.append([claim.serial.normal, claim.epoch])
    print(json.dumps([got, tries]))

asyncio.run(main(*sys.argv[1:]))
"""


async def _filled(fleet: Fleet, jobs: int, drives: int) -> None:
    async with fleet.station():
        pass
    for statement in (JOBS_SQL.format(jobs=jobs), DRIVES_SQL.format(drives=drives), "ANALYZE"):
        await asyncio.to_thread(fleet.sql, statement)


async def _claimer(fleet: Fleet, number: int) -> asyncio.subprocess.Process:
    arguments = (fleet.host.url(fleet.database), f"station-{number}", str(fleet.key_file), "100", "10")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CLAIMER,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def test_eight_stations_claim_a_thousand_drives_and_none_is_claimed_twice(fleet: Fleet) -> None:
    await _filled(fleet, 1000, 10)
    stations = await asyncio.gather(*(_claimer(fleet, number) for number in range(STATIONS)))
    begun = time.monotonic()
    said = await asyncio.gather(*(station.communicate(b"go\n") for station in stations))
    took = time.monotonic() - begun
    assert [station.returncode for station in stations] == [0] * STATIONS
    told = [json.loads(output) for output, _ in said]
    claimed = Counter(serial for got, _ in told for serial, _ in got)
    assert len(claimed) == DRIVES
    assert set(claimed.values()) == {1}
    assert {epoch for got, _ in told for _, epoch in got} == {1}
    assert [len(got) for got, _ in told] == [DRIVES // STATIONS] * STATIONS
    tries = sum(tries for _, tries in told)
    assert tries > DRIVES
    async with fleet.station() as catalog:
        shown = {(one.serial, one.station) for one in await catalog.claims()}
    mine = {(serial, f"station-{number}") for number, (got, _) in enumerate(told) for serial, _ in got}
    assert shown == mine
    print(f"\n{STATIONS} stations claimed {DRIVES} drives in {took:.1f} s, {tries - DRIVES} tries refused")


async def test_ten_thousand_jobs_of_ten_drives_are_listed_in_pages(fleet: Fleet) -> None:
    await _filled(fleet, JOBS, DRIVES_A_JOB)
    queries = {
        "all": JobQuery(),
        "a group": JobQuery(subscription="Sub", resource_group="Group"),
        "a state": JobQuery(state=JobState.SHIPPING),
    }
    async with fleet.station() as catalog:
        figures = {what: await _pages(catalog, query, None, 5) for what, query in queries.items()}
        assert {job.state for page, _ in figures["a state"] for job in page.jobs} == {JobState.SHIPPING}
        # Every tenth job is in that state, so its fifth page ends in the middle of all.
        middle = figures["a state"][-1][0].next
        figures["all from the middle on"] = await _pages(catalog, JobQuery(), middle, 5)
    for what, pages in figures.items():
        jobs = [job for page, _ in pages for job in page.jobs]
        assert len(jobs) == 5 * PAGE
        assert all(len(job.drives) == DRIVES_A_JOB for job in jobs)
        assert all(earlier.created < later.created for earlier, later in pairwise(jobs))
        shown = ", ".join(f"{seconds * 1000:.0f}" for _, seconds in pages)
        print(f"\n{JOBS} jobs of {DRIVES_A_JOB} drives, pages of {PAGE}, {what}: {shown} ms")
    first = figures["all from the middle on"][0][0].jobs[0]
    assert first.name.text == f"box-{JOBS // 2 + 1}"


async def _pages(
    catalog: Catalog, query: JobQuery, after: str | None, most: int
) -> list[tuple[JobPage, float]]:
    """The first ones, and how many seconds each took."""
    found = []
    for _ in range(most):
        begun = time.perf_counter()
        page = await catalog.find_jobs(query, after=after, size=PAGE)
        found.append((page, time.perf_counter() - begun))
        after = page.next
    return found
