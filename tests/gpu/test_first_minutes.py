"""first_minutes.py on the made machine, so that it works on the day that somebody has a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from gpu_box import make_box

SCRIPT = Path(__file__).with_name("first_minutes.py")
UNTIMED = "not costs_little and not soon and not in_time and not driver_is_found"
"""A busy machine is no machine to measure on; and nine containers less."""

pytestmark = pytest.mark.requires("cc", "root", "overlayfs", "userns", "proc")


def first_minutes(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), str(directory)], capture_output=True, text=True, check=False)


def test_on_a_made_machine_the_list_passes_and_one_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="launch-box-") as directory:
        os.chmod(directory, 0o755)
        box = make_box(Path(directory) / "box", gpus=2)
        box.use(monkeypatch)
        monkeypatch.setenv("PYTEST_ADDOPTS", f"-k '{UNTIMED}'")
        done = first_minutes(tmp_path)
        box.remove()
    found = json.loads((tmp_path / "first-minutes.json").read_text())
    outcomes = {name: one["outcome"] for name, one in found["acceptance"]["root"].items()}
    assert [] == [name for name, outcome in outcomes.items() if outcome == "failed"], done.stdout
    assert {"passed"} == {
        outcomes["test_numbers_count_as_cuda_counts"],
        outcomes["test_a_program_gets_its_gpu_and_nothing_of_the_others"],
        outcomes["test_two_halves_share_it_and_who_wants_the_whole_waits_for_both"],
    }
    assert "/proc/mounts" in found["evidence"]
    page = (tmp_path / "first-minutes.md").read_text()
    assert f"| {box.uuids[1]} | NVIDIA H100 80GB HBM3, 81559 MiB, minor 0, well |" in page
    assert page in done.stdout


def test_without_a_gpu_it_says_what_it_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_box(tmp_path / "box", installed=False).use(monkeypatch)
    done = first_minutes(tmp_path)
    assert (77, []) == (done.returncode, list(tmp_path.glob("first-minutes.*")))
    assert done.stdout.startswith("not run: there is no NVIDIA GPU here\n\nIt would look at\n\nevidence ")
