"""The ways that docs/tour.md writes down, followed through the code: each function names the next one, and none is too long."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DYNAMIC = {("launcher/cli/main.py", "run"): "function", ("launcher/run/start/fork_server.py", "ForkServer.supervise"): "send_fds"}
"""Function → the call by which it reaches the next one, whose name it does not know: a command is what was declared, a message
goes to another process."""


def ways() -> list[tuple[str, list[tuple[str, str]]]]:
    """Of each list in the tour its heading and its steps (file, function)."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    heading, steps = "", list[tuple[str, str]]()
    for line in (ROOT / "docs/tour.md").read_text().splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        step = re.fullmatch(r"(?:⇒ )?((?:launcher|runtime)/\S+\.py) +([\w.]+)", line)
        if step is not None:
            steps.append((step[1], step[2]))
        elif steps:
            found.append((heading, steps))
            steps = []
    return found


def node_of(file: str, name: str) -> ast.AST:
    node: ast.AST = ast.parse((ROOT / file).read_text())
    for part in name.split("."):
        node = next(
            each for each in ast.iter_child_nodes(node) if isinstance(each, ast.FunctionDef | ast.ClassDef) and each.name == part
        )
    return node


def names_in(node: ast.AST) -> set[str]:
    """Every name and attribute that *node* mentions, its defaults included."""
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} | {
        each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)
    }


@pytest.mark.parametrize(("_heading", "steps"), ways())
def test_each_function_of_a_way_calls_the_next(_heading: str, steps: list[tuple[str, str]]) -> None:
    for (file, name), (_next_file, following) in pairwise(steps):
        called = DYNAMIC.get((file, name), following.rpartition(".")[2])
        assert called in names_in(node_of(file, name)), f"{file}:{name} does not lead to {following}"
    node_of(*steps[-1])


def test_a_launch_is_nineteen_hops_from_function_to_function_or_fewer() -> None:
    assert [True] == [len(steps) - 1 <= 19 for heading, steps in ways() if heading == "The way, in functions"]


def test_a_metric_passes_five_files_or_fewer() -> None:
    assert len({file for heading, steps in ways() if heading == "A metric's way" for file, _function in steps}) <= 5
