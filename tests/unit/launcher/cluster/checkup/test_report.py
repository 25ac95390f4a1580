"""What a node answers, and what srun says where none does, in words that say what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.cluster.checkup.report import explain_silence, judge_answer, node_findings
from runtime.state_dir import StateDir


def answer(**changed: Any) -> dict[str, Any]:
    checks = [
        {"name": name, "ok": True, "detail": f"{name} is fine", "advice": "", "command": ""}
        for name in ("kernel", "gpus", "scratch")
    ]
    usual = {
        "host": "n1",
        "node": "node1",
        "clock": 100.0,
        "python": "3.11.7",
        "sees_home": True,
        "sees_lock": True,
        "may_write": True,
    }
    return {**usual, "checks": checks, **changed}


def findings(**changed: Any) -> dict[str, Any]:
    return judge_answer("gpu", answer(**changed), sent=99.5, received=100.5)


def test_a_probe_from_within_a_job_is_a_job_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "srun").write_text(f"#!/bin/sh\nenv | grep ^SLURM_ | sort > {tmp_path}/heard\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in ("SLURM_JOB_ID", "SLURM_NODELIST", "SLURM_CLUSTERS", "SLURM_ACCOUNT", "SLURM_CONF"):
        monkeypatch.setenv(name, "x")
    node_findings([("cpu", False)], StateDir(tmp_path / "home"), scratch=None)
    assert ["SLURM_ACCOUNT=x", "SLURM_CONF=x"] == (tmp_path / "heard").read_text().split()


def test_a_node_in_order_is_one_line() -> None:
    assert ["`node1`: kernel is fine, gpus is fine, scratch is fine, Python 3.11.7"] == [
        one.detail for one in findings().values()
    ]


@pytest.mark.parametrize(
    ("changed", "name", "words"),
    [
        pytest.param({"sees_home": False}, "gpu: home", "not there, or another directory", id="another LAUNCH_HOME"),
        pytest.param({"may_write": False}, "gpu: home", "cannot be written", id="read-only"),
        pytest.param({"sees_lock": False}, "gpu: home", "a lock held here is not seen there", id="locks of one machine"),
        pytest.param({"clock": 60.0}, "gpu: clock", "39.5 s behind", id="late"),
        pytest.param({"clock": 160.0}, "gpu: clock", "59.5 s ahead of", id="early"),
    ],
)
def test_what_is_wrong_on_a_node_has_a_line_of_its_own(changed: dict[str, Any], name: str, words: str) -> None:
    found = findings(**changed)
    assert not found[name].ok
    assert words in found[name].detail
    assert found[name].advice


@pytest.mark.parametrize(
    ("stderr", "advice"),
    [
        (
            f"slurmstepd: error: execve(): {sys.executable}: No such file or directory\nsrun: error: node1: task 0: Exited",
            "install launch",
        ),
        (f"{sys.executable}: can't open file '/x/node_main.py': [Errno 2] No such file or directory", "not there"),
        ("srun: error: Unable to allocate resources: Requested nodes are busy", "no node was free within 30 s"),
        ("", "srun --partition"),
    ],
    ids=["no Python there", "no launch there", "busy", "silence"],
)
def test_a_node_that_says_nothing_is_explained_by_what_srun_says(tmp_path: Path, stderr: str, advice: str) -> None:
    found = explain_silence(stderr, StateDir(tmp_path))
    assert (False, True) == (found.ok, advice in found.advice)
