"""Which job a drive belongs to, or in one sentence why it is left alone."""

from __future__ import annotations

from collections.abc import Sequence

from agent.errors import MoveRefused, PolicyError, SerialConflict, SerialNotSpecified
from agent.model.identity import SerialNumber
from agent.model.job import Drive, Job
from agent.model.states import FINISHED_JOBS, OPEN_DRIVES, PROCESSABLE_JOBS, DriveState


def choose(serial: SerialNumber, found: Sequence[tuple[Job, Drive]], attached: int) -> tuple[Job, Drive]:
    """The job and drive to work on.

    ``found`` are all jobs that specify the serial, ``attached`` how many attached drives claim it.
    Raises SerialConflict, SerialNotSpecified or MoveRefused with the sentence for the technician.
    """
    if attached > 1:
        raise SerialConflict(f"{attached} attached drives say that their serial is {serial}")
    if not found:
        raise SerialNotSpecified(f"drive {serial} is an extra drive: no job specifies it")
    open_ones = [(job, drive) for job, drive in found if drive.state in OPEN_DRIVES]
    waiting = [pair for pair in open_ones if not pair[0].cancel_requested] or open_ones
    if not waiting:
        raise _finished(serial, *found[0])
    ready = [(job, drive) for job, drive in waiting if job.state in PROCESSABLE_JOBS]
    if not ready:
        raise _not_ready(serial, *waiting[0])
    if len(ready) > 1:
        names = ", ".join(str(job.name) for job, _ in ready)
        raise SerialConflict(f"drive {serial} is specified by more than one open job: {names}")
    job, drive = ready[0]
    if drive.state is DriveState.FAULTED:
        raise _not_ready(serial, job, drive)
    return job, drive


def _finished(serial: SerialNumber, job: Job, drive: Drive) -> PolicyError:
    status = f", {drive.copy_status}" if drive.copy_status else ""
    return MoveRefused(f"drive {serial} of job {job.name} is already processed ({drive.state}{status})")


def _not_ready(serial: SerialNumber, job: Job, drive: Drive) -> PolicyError:
    if drive.state is DriveState.FAULTED:
        return MoveRefused(f"drive {serial} of job {job.name} is Faulted and waits for operators")
    if job.state in FINISHED_JOBS:
        return MoveRefused(f"job {job.name} of drive {serial} has ended ({job.state}): return the drive")
    return MoveRefused(f"job {job.name} of drive {serial} is in {job.state} and not yet to be processed")
