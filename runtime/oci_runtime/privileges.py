"""Whether this process may do what root may: engines run the runtime as root of a user namespace of theirs."""

from __future__ import annotations

import os
from functools import cache


@cache
def in_user_namespace() -> bool:
    """Whether this process is in a user namespace that somebody made (user_namespaces(7): the first one maps everything)."""
    with open("/proc/self/uid_map") as file:
        return file.read().split() != ["0", "0", "4294967295"]


def is_root_of_machine() -> bool:
    return os.geteuid() == 0 and not in_user_namespace()
