"""A sweep whose process is on another machine, as from two login nodes with one home."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.cli.sweep.sweep_place import SweepPlace
from launcher.errors import ConfigError
from launcher.run.start.create_run import new_run_dir
from launcher.run.supervisor.signal_inbox import SignalInbox
from runtime.file_lock import open_locked
from runtime.state_dir import StateDir


@pytest.mark.parametrize(
    ("wish", "hint"),
    [
        (
            lambda place: place.watch(SignalInbox(())),
            "`ssh -t login2 launch attach {0}`; `launch logs -f {0}` follows it from here",
        ),
        (lambda place: place.end(signal.SIGTERM), "`ssh login2 launch stop {0}`"),
        (lambda place: place.end(signal.SIGQUIT), "`ssh login2 launch kill {0}`"),
    ],
    ids=["attach", "stop", "kill"],
)
def test_a_sweep_of_another_machine_has_not_ended_and_is_asked_there(
    tmp_path: Path, wish: Callable[[SweepPlace], object], hint: str
) -> None:
    sweep = new_run_dir(StateDir(tmp_path).ensure())
    held = open_locked(sweep.supervisor_lock)
    try:
        os.pwrite(held, json.dumps({"pid": os.getpid(), "started": "another machine+1", "host": "login2"}).encode(), 0)
        with pytest.raises(ConfigError) as refused:
            wish(SweepPlace(sweep))
    finally:
        os.close(held)
    assert f"sweep `{sweep.run_id}` is run by a process on `login2`" == refused.value.message
    assert hint.format(sweep.run_id) == refused.value.hint
