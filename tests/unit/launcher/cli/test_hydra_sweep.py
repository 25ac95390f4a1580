"""The jobs of a Hydra program, batch by batch."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from launcher.cli.hydra_program import JobSettings
from launcher.cli.hydra_sweep import HydraSweep
from launcher.run import active
from launcher.run.signal_inbox import SignalInbox
from launcher.sweep.capacity import Offer
from launcher.sweep.neighbours import Neighbours
from launcher.sweep.parent import SweepParent
from launcher.sweep.room import Room
from launcher.sweep.this_machine import ThisMachine
from launcher.sweep.trial_log import TrialLog
from runtime.state_dir import StateDir

SETTINGS = JobSettings(("experiment=jobs",), {"file": "train.py"}, "python3", "{}", None, None, ())


def hydra_sweep(state: StateDir) -> HydraSweep:
    parent = active.new_run(state)
    room = Room(Offer(2, 1 << 30, 0), Neighbours(state, parent), parallel=None, ends_matter=True)
    place = ThisMachine(room, cast(Any, SimpleNamespace()))
    prepared = cast(Any, SimpleNamespace(state=state))
    return HydraSweep(SETTINGS, prepared, SweepParent(parent), place, TrialLog(parent.trials), SignalInbox((signal.SIGUSR2,)))


def test_batches_leave_nothing_open(tmp_path: Path) -> None:
    """An Optuna sweeper asks for a hundred of them, and a user has 128 instances of inotify."""
    sweep = hydra_sweep(StateDir(tmp_path).ensure())
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert {"jobs": []} == sweep.run([])
    assert before == len(os.listdir("/proc/self/fd"))
