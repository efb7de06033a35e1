"""Rows of the tables to values of the model and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row

from agent.errors import MalformedInput, StateUnusable
from agent.model.blobs import AccessTier
from agent.model.codes import Disposition, LogLevel
from agent.model.destination import Destination
from agent.model.going import Going
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.job import Drive, Job
from agent.model.papers import Papers
from agent.model.states import DriveState, JobState
from agent.model.tally import Count, Tally
from agent.model.treatment import Treatment
from agent.model.verification import Verification, VerifiedCounts

AnyRow = Row[Any]
COUNTS = ("discovered", "done", "failed", "skipped")


def tally_columns(tally: Tally) -> dict[str, int]:
    """The eight columns of a tally."""
    return {
        f"{name}_{unit}": getattr(getattr(tally, name), unit)
        for name in COUNTS
        for unit in ("files", "bytes")
    }


def tally(row: AnyRow) -> Tally:
    """The tally of a drive's row."""
    found = row._mapping
    return Tally(*(Count(found[f"{name}_files"], found[f"{name}_bytes"]) for name in COUNTS))


def treatment_columns(asked: Treatment) -> dict[str, Any]:
    """The columns of what a job asks to be done with its blobs."""
    return {
        "verification": str(asked.verification) if asked.verification is not None else None,
        "content_md5": asked.content_md5,
        "sha256": asked.sha256,
        "access_tier": asked.tier.value if asked.tier is not None else None,
        "file_facts": asked.file_facts,
    }


def verified_columns(found: VerifiedCounts) -> dict[str, int]:
    """The columns of what a drive's verification found."""
    return {f"verified_{name}": count for name, count in asdict(found).items()}


def papers_columns(papers: Papers) -> dict[str, Any]:
    """The papers of a job, and what lists look for in them."""
    package = papers.delivery_package
    return {
        "papers": json.dumps(papers.to_json(), ensure_ascii=True),
        "subscription": _lower(papers.subscription),
        "resource_group": _lower(papers.resource_group),
        "tracking_number": package.tracking_number if package is not None else None,
    }


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def faulted_from(row: AnyRow) -> JobState:
    """The state in which the fault of a job came. Versions before 0005 knew but one. Raises StateUnusable."""
    try:
        return JobState.TRANSFERRING if row.faulted_from is None else JobState(row.faulted_from)
    except ValueError as error:
        raise StateUnusable(f"row {row.id} of table job is damaged: {error}") from error


def drive(row: AnyRow) -> Drive:
    """Raises StateUnusable when the row holds what no version of the program writes."""
    try:
        return Drive(
            serial=SerialNumber.parse(row.serial_shown),
            state=DriveState(row.state),
            manifest_file=row.manifest_file,
            manifest_hash=row.manifest_hash,
            header_hash=row.header_hash,
            copy_status=row.copy_status,
            percent_complete=row.percent_complete,
            tally=tally(row),
            error_log_uri=row.error_log_uri,
            verbose_log_uri=row.verbose_log_uri,
            manifest_uri=row.manifest_uri,
            verified=VerifiedCounts(
                row.verified_transit,
                row.verified_manifest,
                row.verified_readback,
                row.verified_differ,
                row.verified_unknown,
            ),
            going=Going(
                row.limited_by,
                row.bytes_per_s,
                row.seconds_left,
                row.throttled_requests,
                row.cut_requests,
            ),
        )
    except (ValueError, MalformedInput) as error:
        raise StateUnusable(f"row {row.id} of table drive is damaged: {error}") from error


def job(row: AnyRow, drives: Sequence[AnyRow]) -> Job:
    """Raises StateUnusable when a row holds what no version of the program writes."""
    try:
        return Job(
            name=JobName.parse(row.name),
            state=JobState(row.state),
            drives=tuple(drive(one) for one in drives),
            destination=_destination(row),
            disposition=Disposition(row.disposition),
            diagnostics=ContainerName.parse(row.diagnostics),
            log_level=LogLevel(row.log_level),
            backup_manifest=row.backup_manifest,
            allow_unencrypted=row.allow_unencrypted,
            cancel_requested=row.cancel_requested,
            created=row.created,
            updated=row.updated,
            upload_streams=row.upload_streams,
            treatment=_treatment(row),
            papers=Papers.from_json(json.loads(row.papers)),
            percent_reached=row.percent_reached,
            due=row.due,
            fault_note=row.fault_note,
        )
    except (ValueError, MalformedInput) as error:
        raise StateUnusable(f"row {row.id} of table job is damaged: {error}") from error


def _treatment(row: AnyRow) -> Treatment:
    asked, tier = row.verification, row.access_tier
    return Treatment(
        Verification.parse(asked) if asked is not None else None,
        row.content_md5,
        row.sha256,
        AccessTier(tier) if tier is not None else None,
        row.file_facts,
    )


def _destination(row: AnyRow) -> Destination | None:
    if row.destination_container is None:
        return None
    return Destination(ContainerName.parse(row.destination_container), row.destination_prefix or "")
