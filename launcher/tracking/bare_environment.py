"""What a process of ours that stays when the command has gone is executed with: the environment without anybody's secrets.

`/proc/PID/environ` is what execve(2) was given, for as long as the process lives, whatever it does to its variables. A secret may
have any name, so names that are harmless are kept, instead of the others left out.
"""

from __future__ import annotations

import os

_KEPT = frozenset({"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TMPDIR", "TZ", "LAUNCH_HOME"})
_KEPT_PREFIXES = ("LC_", "LD_", "XDG_")


def bare_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
