"""The tracker as its supervisor sees it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from launcher.run import active
from launcher.run.tracker_process import start_tracker
from launcher.tracking import journal
from launcher.tracking.observed import read_entries
from runtime.state_dir import StateDir


def test_a_tracker_that_is_killed_while_it_sends_the_rest_is_replaced(tmp_path: Path) -> None:
    run_dir = active.new_run(StateDir(tmp_path / "home").ensure())
    journal.append(run_dir.journal, "created", run_id=run_dir.run_id)
    tracker = start_tracker(run_dir)
    os.kill(tracker.pid, signal.SIGSTOP)
    run_dir.metrics.write_text('{"loss": 0.5}\n')
    killer = os.fork()
    if killer == 0:
        time.sleep(0.2)
        os.kill(tracker.pid, signal.SIGKILL)
        os._exit(0)
    tracker.finish()
    os.waitpid(killer, 0)
    assert [0.5] == [entry["value"] for entry in read_entries(run_dir.logged)]
    assert 1 == tracker.successors
