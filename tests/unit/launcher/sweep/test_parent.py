"""What is told of a sweep whose process cannot go on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from journal_lines import write_event

from launcher.cli.sweep.watch import print_sweep_ending
from launcher.errors import ConfigError, LaunchError
from launcher.journal.run_journal import Journal
from launcher.run.start.create_run import new_run_dir
from launcher.sweep.parent import SweepParent
from runtime.errors import StoreError
from runtime.state_dir import StateDir


@pytest.mark.parametrize(
    ("error", "exit_code", "said"),
    [
        (LaunchError("no workers", hint="look there"), 125, "error: no workers\n\nhint: look there\n"),
        (ConfigError("no such key"), 2, "error: no such key\n"),
        (StoreError("no blob", hint="`launch gc`"), 125, "error: no blob\n\nhint: `launch gc`\n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 125, "error: [Errno 28] No space left on device\n"),
        (ZeroDivisionError("by zero"), 125, "error: ZeroDivisionError('by zero')\n"),
    ],
    ids=["ours", "the configuration's", "the runtime's", "the machine's", "a bug"],
)
def test_who_watches_is_told_why_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, exit_code: int, said: str
) -> None:
    sweep = new_run_dir(StateDir(tmp_path).ensure())
    write_event(sweep.journal, "created", run_id=sweep.run_id, sweep_id=sweep.run_id, experiment="probe")
    SweepParent(sweep, Journal(sweep.journal), is_open=True).fail(error)
    assert exit_code == print_sweep_ending(sweep, quiet=True)
    assert said == capsys.readouterr().err
