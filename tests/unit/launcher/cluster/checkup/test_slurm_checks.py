"""What Slurm's programs print, judged for runs: text of real clusters, and what each of them would have to be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.cluster.checkup import slurm_checks
from launcher.cluster.checkup.slurm_checks import judge_version, partitions, read_settings, slurm_findings
from runtime.host.machine import Machine

SETTINGS = """\
Configuration data as of 2026-11-25T04:17:45
AccountingStorageType   = accounting_storage/slurmdbd
JobRequeue              = 0
KillWait                = 30 sec
MaxArraySize            = 1001
MaxJobCount             = 10000
MinJobAge               = 300 sec
PreemptMode             = REQUEUE
PreemptType             = preempt/partition_prio
ProctrackType           = proctrack/cgroup
SLURM_VERSION           = 24.11.5
TaskPlugin              = task/cgroup,task/affinity

Cgroup Support Configuration:
ConstrainCores          = yes
ConstrainDevices        = yes
ConstrainRAMSpace       = yes

Slurmctld(primary) at head is UP
"""

PARTITIONS = """\
debug*|up|30:00|2/1/0/3|(null)|
gpu|up|2-00:00:00|0/4/0/4|gpu:a100:4(S:0-1)|
gpu|up|2-00:00:00|1/0/1/2|gpu:h100:8|
old|down|infinite|0/8/0/8|(null)|
gone|up|infinite|0/0/2/2|(null)|
"""


def judged(check: str, **changed: str | None) -> slurm_checks.Finding:
    settings = {name: value for name, value in {**read_settings(SETTINGS), **changed}.items() if value is not None}
    return getattr(slurm_checks, check)(settings)


@pytest.mark.parametrize(
    "check", ["accounting", "process_tracking", "confinement", "kill_wait", "requeue", "preemption", "limits"]
)
def test_a_cluster_that_does_all_of_it_has_nothing_to_be_told(check: str) -> None:
    assert judged(check).ok


@pytest.mark.parametrize(
    ("check", "changed", "words"),
    [
        pytest.param("accounting", {"AccountingStorageType": ""}, "no accounting: a job is forgotten 300 sec", id="accounting"),
        pytest.param("process_tracking", {"ProctrackType": "proctrack/linuxproc"}, "by their parents", id="proctrack"),
        pytest.param("confinement", {"TaskPlugin": ""}, "TaskPlugin=none", id="no task plugin"),
        pytest.param("confinement", {"ConstrainDevices": "no"}, "without limits on GPUs", id="every GPU open to every job"),
        pytest.param("kill_wait", {"KillWait": "5 sec"}, "5 s between SIGTERM and SIGKILL", id="KillWait"),
        pytest.param("preemption", {"PreemptMode": "GANG,SUSPEND"}, "SUSPEND", id="suspended"),
    ],
)
def test_what_would_surprise_a_run_is_named_with_its_setting(check: str, changed: dict[str, str], words: str) -> None:
    found = judged(check, **changed)
    assert (False, True) == (found.ok, words in found.detail)
    assert found.advice


def test_null_is_no_value() -> None:
    assert {"TaskPlugin": "", "KillWait": "5 sec"} == read_settings("TaskPlugin = (null)\nKillWait   = 5 sec\n\nno setting\n")


def test_a_partition_has_its_nodes_of_all_kinds_together() -> None:
    found = partitions(PARTITIONS)
    assert "6 nodes (4 idle, 1 in use, 1 out), gpu:a100:4(S:0-1), gpu:h100:8, limit 2-00:00:00" == found["partition gpu"].detail
    assert found["partition debug"].detail.endswith("no GPUs, limit 30:00, the default")
    assert {"partition old": False, "partition gone": False} == {name: one.ok for name, one in found.items() if not one.ok}


def test_who_may_use_no_partition_is_told_whom_to_ask() -> None:
    assert "sacctmgr" in partitions("")["partition"].advice


@pytest.mark.parametrize(("printed", "ok"), [("slurm-wlm 24.11.5", True), ("slurm 21.08.8-2", True), ("slurm 20.02.7", False)])
def test_an_old_slurm_is_named(printed: str, ok: bool) -> None:
    assert ok == judge_version(printed).ok


def test_an_sbatch_that_fails_is_one_line_among_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site's own script in its place, or a library that is gone."""
    says = {
        "sbatch": "echo 'sbatch: error: use the portal' >&2; exit 1",
        "scontrol": '[ "$1" = ping ] && echo "Slurmctld(primary) at head is UP" || echo "KillWait = 30 sec"',
        "sinfo": f"cat <<'END'\n{PARTITIONS}END",
    }
    for name in ("squeue", "scancel", "srun", *says):
        (tmp_path / name).write_text(f"#!/bin/sh\n{says.get(name, '')}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = slurm_findings(Machine())
    assert (False, "`sbatch` failed: use the portal") == (found["slurm"].ok, found["slurm"].detail)
    assert {"controller", "kill-wait", "partition gpu"} <= {name for name, one in found.items() if one.ok}
