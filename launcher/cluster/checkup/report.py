"""One page about a cluster: Slurm, LAUNCH_HOME and, when asked to, a node of each partition.

A node is asked by a small job: `srun` with one task, one minute, and a GPU where the partition has some. Whoever asks holds a
lock in LAUNCH_HOME meanwhile: that a node sees it is the one proof that locks hold between machines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from launcher.cluster.checkup.slurm_checks import slurm_findings
from launcher.cluster.slurm.own_job import environ_outside_of_job
from runtime.file_lock import locked
from runtime.host import shared_files
from runtime.host.finding import Finding, good, off
from runtime.host.machine import Machine
from runtime.state_dir import StateDir

_PARTITION = "partition "
_BEGINS_WITHIN_S = 30
_ENDS_WITHIN_S = 120
_CLOCK_SKEW_S = 2.0
_SRUN_READS = ("SLURM_CONF", "SLURM_ACCOUNT", "SLURM_QOS", "SLURM_RESERVATION", "SLURM_CONSTRAINT", "SLURM_WCKEY")
"""Wishes of a person that Slurm itself does not set in a job: srun(1), "INPUT ENVIRONMENT VARIABLES"."""


def cluster_report(state: StateDir, *, probe: bool, scratch: str | None = None) -> dict[str, Finding]:
    """What stands in the way of runs on the cluster that this machine submits to. Leaves nothing behind."""
    machine = Machine()
    found: dict[str, Finding] = {**slurm_findings(machine), **shared_files.probe_home(state.root, machine)}
    if probe and "home-write" not in found:
        answers = node_findings(_partitions(found), state, scratch=scratch)
        found = _confirm(found, answers) | answers
    return found


def _confirm(found: dict[str, Finding], answers: Mapping[str, Finding]) -> dict[str, Finding]:
    """What could only be guessed of LAUNCH_HOME, and what the nodes have seen."""
    nodes = [name.removesuffix(": node") for name, one in answers.items() if name.endswith(": node") and one.ok]
    if not nodes or any(f"{node}: home" in answers for node in nodes):
        return found
    seen = {"home": f"{found['home'].detail.partition('): ')[0]}), as the nodes do", "home-locks": "flock works between machines"}
    return found | {name: good(words) for name, words in seen.items() if not found[name].ok}


def _partitions(found: Mapping[str, Finding]) -> list[tuple[str, bool]]:
    """Those where a job could begin, and whether they have GPUs."""
    named = {name.removeprefix(_PARTITION): one for name, one in found.items() if name.startswith(_PARTITION)}
    return [(name, "gpu:" in one.detail) for name, one in named.items() if one.ok]


def node_findings(partitions: Iterable[tuple[str, bool]], state: StateDir, *, scratch: str | None) -> dict[str, Finding]:
    """What a node of each of *partitions* (its name, whether it has GPUs) says, all asked at once."""
    state.ensure()
    token = state.locks / f"probe-{os.urandom(6).hex()}"
    asked = list(partitions)
    try:
        with locked(token), ThreadPoolExecutor(max_workers=max(1, min(8, len(asked)))) as threads:
            answers = threads.map(lambda partition: _ask(partition[0], token, state, gpus=partition[1], scratch=scratch), asked)
            return {name: finding for answer in answers for name, finding in answer.items()}
    finally:
        token.unlink(missing_ok=True)


def _ask(partition: str, token: Path, state: StateDir, *, gpus: bool, scratch: str | None) -> dict[str, Finding]:
    program = Path(__file__).with_name("node_main.py")
    options = [f"--partition={partition}", "--nodes=1", "--ntasks=1", "--time=1", f"--immediate={_BEGINS_WITHIN_S}", "--quiet"]
    options += ["--gpus-per-node=1"] if gpus else []
    argv = ["srun", *options, sys.executable, "-I", str(program), str(state.root), str(token), scratch or ""]
    sent = time.time()
    try:
        environ = environ_outside_of_job(os.environ, kept=_SRUN_READS)  # typed in an allocation, it asks nodes of others, too
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_ENDS_WITHIN_S, check=False, stdin=subprocess.DEVNULL, env=environ
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {f"{partition}: node": off(f"srun gave no answer: {error}")}
    line = done.stdout.strip().rpartition("\n")[2]
    try:
        document = json.loads(line)
    except ValueError:
        return {f"{partition}: node": explain_silence(done.stderr, state)}
    return judge_answer(partition, document, sent=sent, received=time.time())


def explain_silence(stderr: str, state: StateDir) -> Finding:
    """Why the job printed nothing, from srun's words."""
    lines = [line.removeprefix("srun: ").removeprefix("error: ") for line in stderr.strip().splitlines()]
    words = "; ".join(dict.fromkeys(lines)) or "it ended without a word"
    if "No such file" in words and sys.executable in words:
        advice = f"install launch where nodes see it at the same path: `{sys.executable}` is not there"
    elif "can't open file" in words or "No module named" in words:
        advice = "the node has another Python at that path, or not the packages: install launch on the shared file system"
    elif "Unable to allocate" in words or "Immediate" in words or "could not" in words.lower():
        advice = f"no node was free within {_BEGINS_WITHIN_S} s: try again, or a partition that is idle"
    else:
        advice = "`srun --partition=… hostname` shows whether any job runs there"
    return off(words, advice=advice)


def judge_answer(partition: str, document: dict[str, Any], *, sent: float, received: float) -> dict[str, Finding]:
    """The findings of one answer, named `PARTITION: CHECK`: a line for all that is in order, and one for each that isn't."""
    node = document["node"] or document["host"]
    found = {"home": _home(document), "clock": _clock(document["clock"], sent, received)}
    for one in document["checks"]:
        found[one["name"]] = Finding(one["ok"], one["detail"], one["advice"], one["command"])
    bad = {f"{partition}: {name}": finding for name, finding in found.items() if not finding.ok}
    said = [found[name].detail for name in ("kernel", "gpus", "scratch") if found[name].ok]
    summary = f"`{node}`: {', '.join(said)}, Python {document['python']}"
    return {f"{partition}: node": good(summary), **bad}


def _home(document: dict[str, Any]) -> Finding:
    if not document["sees_home"]:
        return off(
            "LAUNCH_HOME is not there, or another directory is at its path",
            advice="set LAUNCH_HOME to a directory that this machine and the nodes see at the same path",
        )
    if not document["may_write"]:
        return off(
            "LAUNCH_HOME cannot be written there",
            advice="is it exported read-only, or is root somebody else there (root_squash)?",
        )
    if document["sees_lock"] is not True:
        return off(
            "a lock held here is not seen there: two machines could both write a run or a store",
            advice="NFS: `local_lock=none` and a working lockd; Lustre: `-o flock`",
        )
    return good("LAUNCH_HOME and its locks are seen")


def _clock(clock: float, sent: float, received: float) -> Finding:
    """The node's clock was read between *sent* and *received*."""
    skew = max(sent - clock, clock - received, 0.0)
    if skew <= _CLOCK_SKEW_S:
        return good("the clock agrees")
    ahead = "ahead of" if clock > received else "behind"
    return off(
        f"its clock is {skew:.1f} s {ahead} this machine's", advice="times in records will be off: the machines need NTP (chrony)"
    )
