"""USER of an image: whom it means, and what a person should know of one that this machine cannot give.

Started by an ordinary user, a container has all files of the image as its root's: no other user could write where USER is meant
to. So there the program is the container's root, who has no rights on this machine that its caller does not have.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def runs_as_root(user: str) -> bool:
    """Whether USER says nothing new."""
    return user in ("", "0", "root", "0:0", "root:root")


def program_user(user: str, layers: Sequence[Path]) -> tuple[int, int, tuple[int, ...]]:
    """uid, gid and further groups of the program, names looked up in the image of *layers* (bottom first)."""
    if runs_as_root(user) or os.geteuid() != 0:
        return 0, 0, ()
    from runtime.build.image_users import resolve_user

    found = resolve_user(user, layers)
    return found.uid, found.gid, found.groups


def user_advice(user: str) -> tuple[str, ...]:
    """A warning where USER is not followed."""
    if runs_as_root(user) or os.geteuid() == 0:
        return ()
    return (f"the image's `USER {user}` is not followed: started by an ordinary user, a program runs as its container's root",)
