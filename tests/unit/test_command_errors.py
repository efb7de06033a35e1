"""What the command says when the system refuses it something."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import Any

import pytest

from agent.cli import main as main_module

PROGRAM = "import sys; from agent.cli.main import main; sys.exit(main())"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_an_output_that_is_full_is_told_as_such() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "bays"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 5
    assert done.stderr == "error: the output cannot be written: No space left on device [station].\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "error: Too many open files [station].\n"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/var/lib/x"),
            "error: /var/lib/x: No space left on device [station].\n",
        ),
        (TimeoutError(), "error: TimeoutError [station].\n"),
    ],
)
def test_another_refusal_is_not_taken_for_one_of_the_output(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: Any) -> None:
        raise error

    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.setattr(main_module.cli, "main", refuse)
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    assert ended.value.code == 5
    assert capsys.readouterr().err == said
