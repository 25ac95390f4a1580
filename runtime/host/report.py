"""Every answer is tried out, not guessed, and nothing is left behind; no address outside is asked.

For `launch doctor` and for the test suite's `requires` marker. A check that fails says what to do; some failures are no fault (no
GPU, not root), they only say what won't be there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runtime.host import cgroups, gpus, kernel, networks, overlays, session, user_namespaces
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
    "private": session.private,
    "linger": session.linger,
    "gpus": gpus.gpus,
}
"""Name → what tries it. The names are the words of the tests' `requires` marker."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried; `advice` and `command` are empty when it is there."""

    name: str
    ok: bool
    detail: str
    advice: str = ""
    command: str = ""


def report() -> tuple[Check, ...]:
    """Try everything, about half a second. In the order in which a reader wants the answers."""
    return tuple(check(name) for name in CHECKS)


def check(name: str, machine: Machine | None = None) -> Check:
    """Try one thing. Raises KeyError for a name that is not in CHECKS."""
    found = CHECKS[name](machine or Machine())
    if found.ok:
        return Check(name, True, found.detail)
    return Check(name, False, found.detail, found.advice, found.command)
