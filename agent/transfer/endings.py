"""How a worker process ended, in words for the technician."""

from __future__ import annotations

import os
import signal

_CRASHED = "it crashed; what is on the drive may be damaged or hostile: report it"
_FROM_OUTSIDE = "it was ended from outside"
_MEANINGS: dict[int, str] = {
    signal.SIGSYS: "it asked the kernel for what its sandbox forbids; keep the drive apart and report it, "
    "for what is on it may be hostile",
    signal.SIGKILL: "it was killed from outside, or by the kernel for want of memory; see the kernel's log",
    signal.SIGXCPU: "it used more CPU time than a drive of this size may; report it",
    signal.SIGPROF: "it worked on one request for longer than any may; report it",
    signal.SIGSEGV: _CRASHED,
    signal.SIGBUS: _CRASHED,
    signal.SIGILL: _CRASHED,
    signal.SIGFPE: _CRASHED,
    signal.SIGABRT: _CRASHED,
}


def ending(code: int, last_line: str) -> str:
    """One line on a process that ended with ``code`` (negative: by that signal) after it wrote
    ``last_line`` to standard error; empty for one that ended in peace without a word."""
    if code >= 0:
        silent = f"exit code {code}, without a word" if code else ""
        return last_line or silent
    how = f"signal {-code} ({_name(-code)}): {_MEANINGS.get(-code, _FROM_OUTSIDE)}"
    return f"{how}; it said last: {last_line}" if last_line else how


def last_words(error: BaseException) -> str:
    """One line on an error that nobody expected: its kind and place, and nothing of what it holds.

    The text of an error may quote what was worked on, a key included, so only the system's own words
    are passed on. Opens no file, as a confined process cannot.
    """
    place, trace = "", error.__traceback__
    while trace is not None:
        place = f" in {trace.tb_frame.f_globals.get('__name__', '?')}, line {trace.tb_lineno}"
        trace = trace.tb_next
    if isinstance(error, MemoryError):
        return (
            f"it needed more memory than it may have{place}; what is on the drive may be hostile: report it"
        )
    if isinstance(error, OSError) and error.errno is not None:
        return f"{os.strerror(error.errno)} (errno {error.errno}){place}"
    return f"a bug of ingest-agent: {type(error).__name__}{place}; report it"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "without a name"
