"""`command: train.ipynb`: a notebook is a command, and its image has what runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_GROUP = "notebook"
_REQUIREMENTS = ("nbclient", "ipykernel")


def is_notebook(command: Sequence[Any]) -> bool:
    return len(command) == 1 and str(command[0]).endswith(".ipynb")


def add_notebook_requirements(values: dict[str, Any]) -> None:
    """To the image of a command that is a notebook, as a group of its own. A Dockerfile's image has what that says."""
    from launcher.config.overrides import put  # of composing, which an unchanged launch does without

    image = values.get("image") or {}
    if image.get("dockerfile") is None and _GROUP not in (image.get("groups") or {}):
        put(("image", "groups", _GROUP, "requirements"), list(_REQUIREMENTS), values)
