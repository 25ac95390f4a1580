"""Where a run's writable layer lies, what is written down about that, and that nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from journal_lines import read_lines

from launcher.journal.run_journal import Journal
from launcher.run.supervisor.acquisitions import undo_all
from launcher.run.supervisor.container_layers import writable_layer
from runtime.state_dir import RunDir


def announced(run_dir: RunDir) -> list[tuple[str, str]]:
    return [(event.fields["kind"], event.fields["name"]) for event in read_lines(run_dir.journal)]


def test_on_a_disk_it_lies_in_the_runs_directory(run_dir: RunDir) -> None:
    with writable_layer(run_dir, Journal(run_dir.journal), scratch=None) as fds:
        assert ((), [("overlay", run_dir.run_id)]) == (fds, announced(run_dir))


def test_on_scratch_it_is_announced_by_its_path_found_through_a_link_and_gone_at_the_end(run_dir: RunDir, tmp_path: Path) -> None:
    with writable_layer(run_dir, Journal(run_dir.journal), scratch=str(tmp_path / "local")) as fds:
        place = run_dir.overlay.resolve()
        (run_dir.overlay / "u").mkdir()
        assert (1, [("scratch", str(place))]) == (len(fds), announced(run_dir))
        assert tmp_path / "local" == place.parent.parent
    assert (False, False) == (place.exists(), run_dir.overlay.is_symlink())


def test_whoever_finds_the_journal_gives_it_back(run_dir: RunDir, tmp_path: Path) -> None:
    held = writable_layer(run_dir, Journal(run_dir.journal), scratch=str(tmp_path / "local"))
    held.__enter__()
    place = run_dir.overlay.resolve()
    (place / "w" / "work").mkdir(parents=True)
    (place / "w" / "work").chmod(0)
    for _ in range(2):
        undo_all(run_dir)
    assert (False, False) == (place.exists(), run_dir.overlay.is_symlink())


@pytest.mark.parametrize("scratch", [None, "local"], ids=["in the run's directory", "on scratch"])
def test_what_an_attempt_on_a_node_that_went_down_left_is_in_nobodys_way(
    run_dir: RunDir, tmp_path: Path, scratch: str | None
) -> None:
    run_dir.overlay.symlink_to("/nowhere/on/this/node")
    with writable_layer(run_dir, Journal(run_dir.journal), scratch=scratch and str(tmp_path / scratch)):
        (run_dir.overlay / "u").mkdir(parents=True)
    (run_dir.overlay / "u" / "deep").mkdir(parents=True)
    with writable_layer(run_dir, Journal(run_dir.journal), scratch=scratch and str(tmp_path / scratch)):
        assert not (run_dir.overlay / "u").exists()
