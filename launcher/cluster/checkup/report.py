"""One page about a cluster: Slurm, LAUNCH_HOME and, when asked to, a node of each partition."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.cluster.checkup.slurm_checks import slurm_findings
from runtime.host import shared_files
from runtime.host.finding import Finding, good
from runtime.host.machine import Machine
from runtime.state_dir import StateDir

_PARTITION = "partition "


def cluster_report(state: StateDir, *, probe: bool, scratch: str | None = None) -> dict[str, Finding]:
    """What stands in the way of runs on the cluster that this machine submits to. Leaves nothing behind."""
    machine = Machine()
    found: dict[str, Finding] = {**slurm_findings(machine), **shared_files.probe_home(state.root, machine)}
    if probe and "home-write" not in found:
        from launcher.cluster.checkup.probe import node_findings

        answers = node_findings(_partitions(found), state, scratch=scratch)
        found = _confirmed(found, answers) | answers
    return found


def _confirmed(found: dict[str, Finding], answers: Mapping[str, Finding]) -> dict[str, Finding]:
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
