"""What is kept of a working directory: what the program wrote, not its code nor what tools make beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from launcher.journal.run_journal import Journal
from launcher.run.supervisor.acquisitions import undo_all
from launcher.run.supervisor.container_layers import writable_layer
from launcher.run.supervisor.workspace_files import keep_workspace
from runtime.state_dir import RunDir

CODE = "print(1)\n"


@pytest.fixture
def planned(run_dir: RunDir):
    def planned(workdir: str = "/workspace", **spec: Any) -> Path:
        plan = {
            "spec": {"outputs": {"keep": ["**"], "max_size": None}, "data": {}, "caches": {}, **spec},
            "build": {"config": {"workdir": workdir}},
            "code": {"files": [["train.py", 0o644, hashlib.sha256(CODE.encode()).hexdigest()]]},
        }
        run_dir.plan.write_text(json.dumps({"plan": plan}))
        run_dir.outputs.mkdir()
        return run_dir.overlay / "u" / workdir.strip("/")

    return planned


def write(directory: Path, **files: str) -> None:
    for name, text in files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def kept(run_dir: RunDir) -> list[str]:
    return sorted(str(path.relative_to(run_dir.outputs)) for path in run_dir.outputs.rglob("*") if path.is_file())


def test_results_are_kept_code_and_caches_are_not(run_dir: RunDir, planned) -> None:
    workspace = planned(data={"notes": {"source": "/srv", "target": "/workspace/notes"}}, caches={"hub": "/workspace/hub"})
    write(workspace, **{"model.txt": "w", "results/r.json": "{}", "train.py": CODE, "lib/net.pyc": "c", ".cache/x": "c"})
    write(workspace, **{"notes/mount-point": "", "hub/mount-point": "", "__pycache__/y": "c"})
    assert None is keep_workspace(run_dir)
    assert ["workspace/model.txt", "workspace/results/r.json"] == kept(run_dir)


def test_code_that_the_program_changed_is_its_work(run_dir: RunDir, planned) -> None:
    write(planned(), **{"train.py": CODE + "# learned\n"})
    keep_workspace(run_dir)
    assert ["workspace/train.py"] == kept(run_dir)


@pytest.mark.parametrize(
    ("patterns", "there"),
    [(["results"], ["workspace/results/r.json"]), (["*.txt"], ["workspace/a.txt"]), ([], [])],
)
def test_the_key_chooses_and_what_is_dropped_is_named(run_dir: RunDir, planned, patterns: list[str], there: list[str]) -> None:
    write(planned(outputs={"workspace": patterns}), **{"a.txt": "", "results/r.json": ""})
    told = keep_workspace(run_dir)
    assert there == kept(run_dir)
    assert told is not None
    assert "as `outputs.workspace` says: `" in told


def test_of_a_working_directory_that_is_the_root_what_is_the_systems_stays(run_dir: RunDir, planned) -> None:
    write(planned("/"), **{"model.txt": "", "tmp/x": "", "etc/passwd": "", "home/user/.bash": ""})
    keep_workspace(run_dir)
    assert ["workspace/model.txt"] == kept(run_dir)


@pytest.mark.parametrize("scratch", [None, "local"], ids=["in the run's directory", "on scratch"])
def test_whoever_finds_the_journal_of_a_killed_run_keeps_it_too(
    run_dir: RunDir, planned, tmp_path: Path, scratch: str | None
) -> None:
    workspace = planned()
    held = writable_layer(run_dir, Journal(run_dir.journal), scratch=scratch and str(tmp_path / scratch))
    held.__enter__()
    write(workspace, **{"model.txt": "w"})
    for _ in range(2):
        assert () == undo_all(run_dir)
    assert (["workspace/model.txt"], False) == (kept(run_dir), run_dir.overlay.exists())


def test_what_a_killed_attempt_left_is_kept_before_the_next_one_begins(run_dir: RunDir, planned) -> None:
    write(planned(), **{"model.txt": "w"})
    with writable_layer(run_dir, Journal(run_dir.journal), scratch=None):
        assert ["workspace/model.txt"] == kept(run_dir)
