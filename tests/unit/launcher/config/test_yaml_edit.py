"""A configuration file gets other values, and stays what it was beside them."""

from __future__ import annotations

import pytest
import yaml

from launcher.config.yaml_edit import with_values

FILE = """\
# @package _global_
image: {requirements: [numpy]}  # small
params:
  # the rate
  lr: 0.1   # tuned
  deep:
    a: 1

  # behind it
command: python3 train.py
data:
"""


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        pytest.param(("params", "lr"), 0.5, "  lr: 0.5   # tuned", id="a value is replaced beside its comment"),
        pytest.param(("params", "deep"), [1, 2], "  deep:\n    [1, 2]", id="a block is replaced"),
        pytest.param(("params", "deep", "b"), "x: y", "    a: 1\n    b: 'x: y'", id="a key is added to a block"),
        pytest.param(("params", "new", "far"), True, "    a: 1\n  new:\n    far: true", id="so are those above it"),
        pytest.param(
            ("image", "groups", "more", "apt"),
            ["less"],
            "image: {requirements: [numpy], groups: {more: {apt: [less]}}}  # small",
            id="a key is added to braces",
        ),
        pytest.param(("command",), ["sh", "-c", "a, b"], "command: [sh, -c, 'a, b']", id="text becomes a list"),
        pytest.param(("data", "set"), "/x", "data: {set: /x}", id="nothing becomes a mapping"),
        pytest.param(("seed",), 3, "data:\nseed: 3", id="a key is added at the top"),
    ],
)
def test_only_what_changes_is_written_anew(path: tuple[str, ...], value: object, line: str) -> None:
    edited = with_values(FILE, {path: value})
    assert line + "\n" in edited
    found = yaml.safe_load(edited)
    for key in path:
        found = found[key]
    assert value == found
    removed = [each for each in FILE.splitlines() if each not in edited.splitlines()]
    assert len(removed) <= 2


def test_what_follows_a_block_stays_behind_it() -> None:
    assert "b: 2\n\n  # behind it\ncommand" in with_values(FILE, {("params", "deep", "b"): 2})


def test_a_file_without_anything_gets_its_first_key() -> None:
    assert "# nothing yet\nparams:\n  lr: 1\n" == with_values("# nothing yet\n", {("params", "lr"): 1})
