"""`import launcher` in a script and in a notebook, with real runs."""

from __future__ import annotations

import _thread
import re
import threading
from pathlib import Path

import nbformat
import pytest
from launch_command import REPOSITORY, Launch, write_project
from nbclient import NotebookClient

import launcher

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns")]

GUIDE = REPOSITORY / "docs/guides/python.md"

NOISY = """\
import json, os, sys, time
with open(os.environ["LAUNCH_METRICS"], "a") as metrics:
    metrics.write(json.dumps({"step": 1, "loss": time.time()}) + "\\n")
print("ready", flush=True)
if sys.argv[1] == "sleep":
    time.sleep(600)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def noisy_project(launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its program gives another loss each time, and ends as it is told. Our own environment is that of `launch`."""
    for name, value in launch.env().items():
        monkeypatch.setenv(name, value)
    return write_project(tmp_path, "probe", program=NOISY)


def cells_of(page: Path) -> list[str]:
    """The blocks of a page that are marked as the cells of a notebook."""
    return re.findall(r"^```python notebook\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def test_the_notebook_of_the_guide_launches_streams_plots_and_sweeps(launch: Launch) -> None:
    cells = [cell.replace('"digits"', '"probe"').replace("accuracy", "loss") for cell in cells_of(GUIDE)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(launch.project)}})
    client.execute(env=launch.env())
    shown = [output for cell in notebook.cells for output in cell.outputs]
    said = "".join(output.text for output in shown if output.output_type == "stream")
    cards = [output.data["text/html"] for output in shown if "text/html" in output.get("data", {})]
    assert "hello from " in said
    assert any("finished" in card and "<svg" in card for card in cards), cards
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert [] == [output for output in shown if output.output_type == "error"]
    sweeps = [run for run in launch.runs() if run["sweep_id"] == run["run_id"] and run["experiment"] == "probe"]
    assert "FINISHED" == sweeps[-1]["status"]


def test_a_script_sees_how_its_runs_end(noisy_project: Path) -> None:
    run = launcher.launch("probe", {"params.how": 3}, project=noisy_project, quiet=True)
    with pytest.raises(launcher.RunFailed, match=f"run `{run.id}` of probe has ended FAILED: program, exit code 3"):
        run.wait()
    again = launcher.rerun(run, {"params.how": "0"}, quiet=True)
    again.wait()
    with pytest.raises(launcher.NotReproduced, match=r"different from step 1 \(loss ") as failed:
        launcher.rerun(again, verify=True, quiet=True)
    assert failed.value.hint is not None
    launcher.rerun(again, verify=True, rtol=0.5, quiet=True)


def test_who_stops_waiting_leaves_the_run_alone(noisy_project: Path) -> None:
    run = launcher.launch("probe", {"params.how": "sleep"}, project=noisy_project, quiet=True)
    assert "ready" == next(run.logs(follow=True))
    ctrl_c = threading.Timer(1.0, _thread.interrupt_main)
    ctrl_c.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run.wait()
    finally:
        ctrl_c.cancel()  # the session's otherwise
    with pytest.raises(TimeoutError):
        run.wait(timeout_s=0.2)
    assert "RUNNING" == run.status
    run.stop()
    assert ("KILLED", 143) == (run.status, run.exit_code)
