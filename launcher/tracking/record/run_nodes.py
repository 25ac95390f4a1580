"""The nodes of a cluster that a run has: which they are, how it ended on each, and what each of them wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from launcher.errors import ConfigError
from launcher.journal.status import Reason
from runtime.state_dir import RunDir

_SHOWN = 4


def failed_node(nodes: Sequence[Mapping[str, Any]]) -> int | None:
    """The number of the node behind the first whose program failed, and no other one's."""
    failed = [node["node"] for node in nodes if node["node"] and node.get("reason") == Reason.PROGRAM]
    return failed[0] if len(failed) == 1 else None


def node_words(nodes: Sequence[Mapping[str, Any]]) -> str:
    """`gpu03, gpu07` or `gpu03, gpu07, … (16 nodes)`"""
    names = [str(node.get("name") or node.get("host") or f"node {node['node']}") for node in nodes]
    return ", ".join(names) if len(names) <= _SHOWN else f"{', '.join(names[:2])}, … ({len(names)} nodes)"


def node_directories(run_dir: RunDir) -> list[RunDir]:
    """The run's directory as each of its nodes has it, the first one's first."""
    try:
        numbers = sorted(int(entry.name) for entry in (run_dir.root / "nodes").iterdir() if entry.name.isdigit())
    except FileNotFoundError:
        numbers = []
    return [run_dir, *map(run_dir.on_node, numbers)]


def on_node(run_dir: RunDir, node: int) -> RunDir:
    """The run's directory as *node* has it. Raises ConfigError when the run has no such node."""
    known = node_directories(run_dir)
    found = next((each for each in known if each.node == node), None)
    if found is None:
        has = "one node" if len(known) == 1 else f"nodes 0 to {len(known) - 1}"
        raise ConfigError(f"run `{run_dir.run_id}` has no node {node}", hint=f"it has {has}")
    return found
