"""What a machine with GPUs looks like, in its own words: for a person who was not there, and for the made machine of the tests.

Needs nothing of launch: it has to be there also when launch fails.
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

_COMMANDS = (
    ("nvidia-smi", "-q", "-x"),
    ("nvidia-smi", "topo", "-m"),
    ("nvidia-smi", "nvlink", "-s"),
    ("sh", "-c", "ls -lR /dev/nvidia* /dev/dri /dev/infiniband 2>&1"),
    ("sh", "-c", "ldconfig -p | grep -i -e cuda -e nvidia"),
    ("sh", "-c", "find /usr /opt /run /lib* -name 'libcuda.so*' 2>/dev/null"),
    ("stat", "-fc", "%T", "/sys/fs/cgroup"),
    ("id",),
)
_FILES = ("/etc/os-release", "/proc/devices", "/proc/modules", "/proc/mounts", "/proc/self/cgroup", "/proc/self/uid_map")
_TREES = ("/proc/driver/nvidia", "/proc/driver/nvidia-caps", "/etc/cdi", "/var/run/cdi")
_LARGEST = 200_000


def machine_evidence() -> dict[str, str]:
    """Name of a command or a file → what it says."""
    found = {"uname": " ".join(platform.uname())}
    found |= {" ".join(words): _said(words) for words in _COMMANDS}
    paths = [Path(one) for one in _FILES]
    for tree in _TREES:
        paths += sorted(Path(directory, name) for directory, _, names in os.walk(tree) for name in names)
    return found | {str(path): _content(path) for path in paths}


def _said(words: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"({error})"
    return (done.stdout + done.stderr)[:_LARGEST]


def _content(path: Path) -> str:
    try:
        with path.open(errors="replace") as file:
            return file.read(_LARGEST)
    except OSError as error:
        return f"({error.strerror})"
