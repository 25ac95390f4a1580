"""Trees of values are copied as far as they change."""

from __future__ import annotations

from launcher.config.resolve import copy_tree


def test_a_change_in_the_copy_is_not_one_in_the_tree() -> None:
    tree = {"params": {"lr": [0.1, {"end": 1}]}, "name": "x", "none": None}
    copy = copy_tree(tree)
    assert tree == copy
    copy["params"]["lr"][1]["end"] = 2
    copy["params"]["new"] = 1
    assert {"params": {"lr": [0.1, {"end": 1}]}, "name": "x", "none": None} == tree
