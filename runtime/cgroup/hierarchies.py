"""Which cgroup hierarchies are mounted, and which directory in each is our own (cgroups(7), "/proc files").

Three layouts exist: v1 only, v2 only, and hybrid (v1 controllers plus a v2 hierarchy with few or none). On hybrid machines our
own directory differs by controller, and limits set on it by others (Slurm, a container) hold for us only if we stay below it.
"""

from __future__ import annotations

from pathlib import Path

from runtime.kernel.mountinfo import MountLine, parse_mountinfo
from runtime.light_typing import NamedTuple


class Hierarchies(NamedTuple):
    """Mount points, and the directories of one process in them."""

    unified_mount: Path | None
    unified: Path | None
    """Own directory in the v2 hierarchy; None = v2 is not mounted."""
    legacy_mounts: dict[str, Path]
    legacy: dict[str, Path]
    """v1 controller (`memory`, `cpu`, …) → own directory."""


def parse_memberships(text: str) -> dict[str, str]:
    """Controller → path in its hierarchy, from /proc/PID/cgroup; the v2 hierarchy has the name ``."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _directory(mount: MountLine, path: str) -> Path:
    """Where *path* of the hierarchy is visible. In a container the mount may show only a part: then its top is ours."""
    root = mount.root.rstrip("/")
    if path == root or path.startswith(f"{root}/"):
        return Path(mount.point + path[len(root) :])
    return Path(mount.point)


def hierarchies(mountinfo: str, memberships: str) -> Hierarchies:
    """Put the two proc files together."""
    paths = parse_memberships(memberships)
    unified_mount, unified = None, None
    legacy_mounts: dict[str, Path] = {}
    legacy: dict[str, Path] = {}
    for mount in parse_mountinfo(mountinfo):
        if mount.type == "cgroup2" and "" in paths:
            unified_mount, unified = Path(mount.point), _directory(mount, paths[""])
        elif mount.type == "cgroup":
            for controller in set(mount.super_options) & set(paths):
                legacy_mounts[controller] = Path(mount.point)
                legacy[controller] = _directory(mount, paths[controller])
    return Hierarchies(unified_mount, unified, legacy_mounts, legacy)


def own_hierarchies() -> Hierarchies:
    """The hierarchies of the calling process, read anew: a process can be moved at any time."""
    return hierarchies(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
