"""Views of the plan that are written by hand, read by others' parsers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml

from launcher.tracking.record.record_files import lock_text, yaml_text


@pytest.mark.parametrize(
    "document",
    [
        {"name": "digits", "params": {"lr": 1e-05, "big": 1e22, "one": 1.0, "n": 3, "on": True, "none": None}},
        {"hidden": [64, 32], "nested": [[1, 2], [], {"a": {"b": []}}], "empty": {}},
        {"yes": "no", "3.10": "3.10", "a: b": "x: y # z", "multi": "a\nb\t\u00e9\u2028", "quote": '"', "": ""},
        {"inf": [math.inf, -math.inf]},
        {},
    ],
)
def test_yaml_is_read_as_it_was_meant(document: dict[str, Any]) -> None:
    assert document == (yaml.safe_load(yaml_text(document)) or {})


def test_a_lock_names_each_file_by_hash() -> None:
    wheels = [
        {"name": "a", "version": "1.0", "sha256": "0" * 64, "url": None},
        {"name": "b", "version": "2", "sha256": "1" * 64, "url": "https://x/b.whl"},
    ]
    text = lock_text({"python": "3.13.5", "platform": "linux", "wheels": wheels}).decode()
    assert f"a==1.0 \\\n    --hash=sha256:{'0' * 64}\nb @ https://x/b.whl \\\n" in text
