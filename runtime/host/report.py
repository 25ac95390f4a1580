"""Every answer is tried out, not guessed, and nothing is left behind; no address outside is asked.

For `launch doctor` and for the test suite's `requires` marker. A check that fails says what to do; some failures are no fault (no
GPU, not root), they only say what won't be there.
"""

from __future__ import annotations

from collections.abc import Callable

from runtime.host import cgroups, gpus, kernel, networks, overlays, user_namespaces
from runtime.host.finding import Finding
from runtime.host.machine import Machine

CHECKS: dict[str, Callable[[Machine], Finding]] = {
    "kernel": kernel.version,
    "root": kernel.root,
    "userns": user_namespaces.user_namespaces,
    "apparmor": user_namespaces.apparmor,
    "newuidmap": user_namespaces.id_map_programs,
    "subids": user_namespaces.subordinate_ids,
    "overlayfs": overlays.overlay,
    "mount-api": overlays.mount_api,
    "overlay-userns": overlays.overlay_in_user_namespace,
    "idmapped-mounts": overlays.id_mapped_mounts,
    "proc": kernel.proc,
    "seccomp": kernel.system_call_filters,
    "cgroup-memory": cgroups.controller("memory"),
    "cgroup-cpu": cgroups.controller("cpu"),
    "cgroup-pids": cgroups.controller("pids"),
    "pressure": kernel.pressure,
    "netns": networks.network_namespaces,
    "bridge": networks.bridges,
    "networks": networks.shared_networks,
    "pasta": networks.user_mode,
    "private": overlays.private,
    "linger": cgroups.linger,
    "gpus": gpus.gpus,
}
"""Name → what tries it. The names are the words of the tests' `requires` marker."""


def report() -> dict[str, Finding]:
    """Try everything, about half a second. In the order in which a reader wants the answers."""
    return {name: check(name) for name in CHECKS}


def check(name: str, machine: Machine | None = None) -> Finding:
    """Try one thing. Raises KeyError for a name that is not in CHECKS."""
    return CHECKS[name](machine or Machine())
