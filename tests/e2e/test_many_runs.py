"""Many runs at once: each is right, each supervisor is small, and nothing is left of any.

LAUNCH_TESTS_RUNS=100 pytest -s tests/e2e/test_many_runs.py     that many side by side, and what they take; a few by default
"""

from __future__ import annotations

import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from crash_rounds import make_project
from launch_command import Launch

from runtime.network.links import Links

pytestmark = pytest.mark.requires("overlayfs", "userns")

RUNS = int(os.environ.get("LAUNCH_TESTS_RUNS", "5"))
MOST_KB = 25_000
"""Of a supervisor, everything that it has mapped, shared or not."""

_STARTED_AT_ONCE = 8


@pytest.fixture
def crashing(session_home: Path, tmp_path: Path) -> Launch:
    return Launch(session_home, make_project(tmp_path / "project"))


@pytest.mark.parametrize("network", ["none", pytest.param("bridge", marks=pytest.mark.requires("bridge"))])
def test_runs_side_by_side_are_all_right_and_small(crashing: Launch, network: str) -> None:
    words = ("-d", "experiment=crash", "tracking=none", f"network={network}", "env.PAUSE_S='900'")
    crashing("build", "experiment=crash")
    began = time.monotonic()
    with ThreadPoolExecutor(_STARTED_AT_ONCE) as starters:
        runs = [run.stdout.strip() for run in starters.map(lambda _: crashing(*words), range(RUNS))]
    run_dirs = [crashing.home / "runs" / run for run in runs]
    while not all((run_dir / "outputs/begun").exists() for run_dir in run_dirs):
        assert time.monotonic() < began + 60 + 5 * RUNS
        time.sleep(0.05)
    started_s = time.monotonic() - began
    listed = {record["run_id"]: record["status"] for record in json.loads(crashing("ps", "--json").stdout)}
    assert dict.fromkeys(runs, "RUNNING") == {run: listed.get(run) for run in runs}
    if network == "bridge":
        with Links() as links:
            aliases = [link.alias for link in links.all() if link.alias and any(run in link.alias for run in runs)]
        assert RUNS == len(set(aliases)) == len(aliases)
    supervisors = [int(json.loads((run_dir / "supervisor.lock").read_text())["pid"]) for run_dir in run_dirs]
    rss, pss = (sorted(memory_kb(pid, kind) for pid in supervisors) for kind in ("Rss", "Pss"))
    began = time.monotonic()
    crashing("stop", *runs, timeout_s=300)
    stopped_s = time.monotonic() - began
    print(
        f"\n{RUNS} runs, network {network}: started in {started_s:.1f} s, stopped in {stopped_s:.1f} s; a supervisor's RSS "
        f"{statistics.median(rss) / 1000:.1f} MB (at most {rss[-1] / 1000:.1f}), PSS {statistics.median(pss) / 1000:.1f} MB"
    )
    assert rss[-1] <= MOST_KB
    ended = {record["run_id"]: (record["status"], record["reason"]) for record in crashing.runs()}
    assert dict.fromkeys(runs, ("KILLED", "stopped")) == {run: ended[run] for run in runs}
    assert not any((run_dir / "overlay").exists() for run_dir in run_dirs)


def memory_kb(pid: int, kind: str) -> int:
    """`Rss`, or `Pss` (shared pages divided among those who share them), in thousands of bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024 // 1000
    raise AssertionError(f"no {kind} in smaps_rollup of {pid}")
