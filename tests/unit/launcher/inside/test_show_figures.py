"""`plt.show()` in a process without a display: real matplotlib, with the backend that a run has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from launcher.plan.program import own_files

BACKEND = Path(own_files.__file__).parents[2] / "inside/show_figures.py"
BEGINNING = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\n"


def ran(directory: Path, program: str, outputs: str = "outputs") -> subprocess.CompletedProcess[str]:
    """*program* with the backend beside it."""
    shutil.copyfile(BACKEND, directory / "launch_show_figures.py")
    own = {"MPLBACKEND": "module://launch_show_figures", "LAUNCH_OUTPUTS": str(directory / outputs), "PYTHONPATH": str(directory)}
    argv = [sys.executable, "-W", "error::RuntimeWarning", "-c", BEGINNING + program]
    return subprocess.run(argv, env=os.environ | own, capture_output=True, text=True, check=False)


def figures(directory: Path) -> list[str]:
    files = sorted(directory.glob("outputs/figures/*"))
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    return [file.name for file in files]


def test_each_figure_that_is_shown_is_a_file_once(tmp_path: Path) -> None:
    done = ran(tmp_path, "plt.figure()\nplt.show()\nassert not plt.get_fignums()\nplt.figure()\nplt.show()\nplt.figure()")
    assert (done.returncode, done.stderr) == (0, "")
    assert figures(tmp_path) == ["1.png", "2.png", "3.png"]


def test_what_another_process_has_written_is_kept(tmp_path: Path) -> None:
    ran(tmp_path, "plt.show()")
    first = (tmp_path / "outputs/figures/1.png").read_bytes()
    ran(tmp_path, "plt.plot([3, 1])\nplt.show()")
    assert figures(tmp_path) == ["1.png", "2.png"]
    assert (tmp_path / "outputs/figures/1.png").read_bytes() == first


def test_a_figure_that_is_drawn_on_is_written_once_at_the_end(tmp_path: Path) -> None:
    drawn = "plt.show(block=False)\nfor y in range(3):\n    plt.plot([y, 0])\n    plt.pause(0.001)\nplt.ion()\nplt.show()"
    assert ran(tmp_path, drawn).returncode == 0
    assert figures(tmp_path) == ["1.png"]


def test_a_figure_that_cannot_be_written_ends_no_program(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = ran(tmp_path, "plt.show()\nprint('on')", outputs="file/below")
    assert (done.returncode, done.stdout) == (0, "on\n")
    assert "a figure of plt.show() could not be written" in done.stderr
