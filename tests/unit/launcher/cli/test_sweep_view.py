"""A sweep on a terminal."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from journal_lines import write_event

from launcher.cli.sweep.view import LiveView
from launcher.config.spec import Sweep
from launcher.run.start.create_run import new_run_dir
from launcher.sweep.capacity import Offer
from launcher.sweep.followed import Started
from runtime.state_dir import StateDir

WAITING = {"place": 1, "of": 2, "text": "a GPU"}


def test_who_stands_in_line_and_whose_program_has_ended_do_not_run(tmp_path: Path) -> None:
    state = StateDir(tmp_path).ensure()
    view = LiveView(cast(Any, SimpleNamespace(total=9, place=None, best=list, settings=Sweep())), Offer(8, 1 << 30, 2))
    for number, events in enumerate((["leased"], ["leased", "finished"], ["waiting"], []), 1):
        run_dir = new_run_dir(state)
        for event in ("created", *events):
            write_event(run_dir.journal, event, **(WAITING if event == "waiting" else {}))
        view.show([Started(number, (f"x={number}",), run_dir, 1, None, time.time())])
    view.show([Started(5, ("x=5",), run_dir, 1, "node1", time.time())])
    said = view._headline(view._stages())
    view.close()
    assert "0 of 9 trials ended, 3 running, 1 in line for a GPU, 1 sending what is recorded, gpus 2 of 2" == said
