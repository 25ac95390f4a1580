"""Values in the grammar of Hydra's overrides, written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def assignments(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    """*tree* as overrides: `{params: {lr: 0.1}}` → `params.lr=0.1`."""
    lines = []
    for name, value in tree.items():
        key = f"{prefix}{name}"
        lines += assignments(value, f"{key}.") if isinstance(value, dict) else [f"{key}={hydra_text(value)}"]
    return lines


def hydra_text(value: Any) -> str:
    """*value* in Hydra's grammar."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{hydra_text(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(hydra_text(item) for item in value) + "]"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
