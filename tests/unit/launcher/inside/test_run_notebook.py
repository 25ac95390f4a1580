"""A notebook runs as a program: with the run's parameters, saying what its cells say, and failing as they fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from launcher.plan.program import own_files as of_notebook

RUNNER = Path(of_notebook.__file__).parents[2] / "inside/run_notebook.py"


def write_notebook(file: Path, *cells: str, tags: tuple[str, ...] = ()) -> None:
    made: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
        for n, source in enumerate(cells)
    ]
    made[0]["metadata"]["tags"] = list(tags)
    # The kernel of another machine.
    metadata = {"kernelspec": {"name": "somebodys", "language": "python", "display_name": "x"}}
    file.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": made}))


def run_notebook(directory: Path, name: str, **params: Any) -> subprocess.CompletedProcess[str]:
    (directory / "params.json").write_text(json.dumps(params))
    (directory / "outputs").mkdir()
    env = {**os.environ, "LAUNCH_PARAMS": f"{directory}/params.json", "LAUNCH_OUTPUTS": f"{directory}/outputs"}
    return subprocess.run(
        [sys.executable, RUNNER, name], cwd=directory, env=env, capture_output=True, text=True, timeout=300, check=False
    )


def test_parameters_come_behind_the_defaults_and_a_failing_cell_is_the_runs_failure(tmp_path: Path) -> None:
    write_notebook(
        tmp_path / "train.ipynb",
        "lr = 0.1\nepochs = 3",
        "print('lr', lr, epochs)\nlr * 2",
        "1 / (lr - 0.5)",
        "print('never')",
        tags=("parameters",),
    )
    done = run_notebook(tmp_path, "train.ipynb", lr=0.5, names=["a", None])
    assert (1, "lr 0.5 3\n1.0\n") == (done.returncode, done.stdout)
    assert done.stderr.endswith("launch: cell 4 of `train.ipynb` failed: ZeroDivisionError: float division by zero\n")
    kept = json.loads((tmp_path / "outputs/train.ipynb").read_text())["cells"]
    assert "# parameters of the run\nlr = 0.5\nnames = ['a', None]" == "".join(kept[1]["source"])
    assert ["ZeroDivisionError", []] == [kept[3]["outputs"][0]["ename"], kept[4]["outputs"]]
    assert [tmp_path / "outputs/train.ipynb"] == list((tmp_path / "outputs").iterdir())


def test_a_kernel_that_dies_is_named_with_its_cell(tmp_path: Path) -> None:
    write_notebook(tmp_path / "a.ipynb", "x = 1", "import os; os.kill(os.getpid(), 9)")
    done = run_notebook(tmp_path, "a.ipynb")
    assert (1, "launch: the kernel died in cell 2 of `a.ipynb`") == (done.returncode, done.stderr.splitlines()[-1])


def test_what_is_no_notebook_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text('{"cells": 1}')
    done = run_notebook(tmp_path, "a.ipynb")
    assert 1 == done.returncode
    assert done.stderr.splitlines()[-1].startswith("launch: `a.ipynb` cannot be read as a notebook: ")
    assert "Traceback" not in done.stderr
