"""What is said and done when the disk of LAUNCH_HOME is full: on a real one, of 64 KiB."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from journal_lines import write_event

from launcher.cli.run_place import ThisMachine
from launcher.cli.watch import looks
from launcher.config.spec import Sweep
from launcher.errors import LaunchError
from launcher.journal.events import Note
from launcher.journal.run_journal import Journal, read_state
from launcher.journal.status import Reason
from launcher.run.start.create_run import new_run_dir
from launcher.sweep.parent import SweepParent
from launcher.sweep.run_sweep import SweepEnd
from runtime.file_lock import locked
from runtime.kernel import libc
from runtime.state_dir import RunDir, StateDir

pytestmark = pytest.mark.requires("root")


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[RunDir]:
    """A sweep that runs, on a small disk of its own."""
    libc.mount("tmpfs", tmp_path, "tmpfs", options="size=64k,mode=755")
    run_dir = new_run_dir(StateDir(tmp_path).ensure())
    write_event(run_dir.journal, "created", run_id=run_dir.run_id, sweep_id=run_dir.run_id, experiment="probe")
    yield run_dir
    libc.umount(tmp_path)


def fill(run_dir: RunDir) -> Path:
    """Every block, also what is left of the journal's last one."""
    file = run_dir.state.root / "fill"
    with run_dir.journal.open("a") as journal:
        journal.write(" " * (-run_dir.journal.stat().st_size % 4096 - 1) + "\n")
    with suppress(OSError), file.open("wb", buffering=0) as filling:
        while filling.write(b"x" * 4096):
            pass
    return file


def test_the_end_of_a_sweep_is_written_when_there_is_room_again(sweep: RunDir) -> None:
    parent = SweepParent(sweep, Journal(sweep.journal), is_open=True)
    file = fill(sweep)
    closing = threading.Thread(target=parent.close, args=(SweepEnd([], Reason.COMPLETED, []), Sweep()), kwargs={"total": 2})
    closing.start()
    time.sleep(1)
    assert not read_state(sweep.journal).is_over
    file.unlink()
    closing.join(timeout=20)
    finished = read_state(sweep.journal).finished
    assert finished is not None
    assert ("completed", 0) == (finished.reason, finished.exit_code)


def test_who_watches_is_told_once_of_a_full_disk(sweep: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    fill(sweep)
    with locked(sweep.supervisor_lock):
        for _, _look in zip(range(4), looks(ThisMachine(sweep)), strict=False):
            pass
    said = capsys.readouterr().err
    assert said.startswith(f"warning: `{sweep.root}` is on a full disk: the run can end only when there is room again")
    assert 1 == said.count("full disk")


def test_an_event_that_does_not_fit_says_what_to_do(sweep: RunDir) -> None:
    fill(sweep)
    with pytest.raises(LaunchError, match=r"cannot write event `note` to the journal `.*`: no space left on device") as failure:
        Journal(sweep.journal).append(Note("x"))
    assert "`launch gc`" in (failure.value.hint or "")
