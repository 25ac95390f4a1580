"""What of a user's stays: detached runs after logout, and files that nobody else may see."""

from __future__ import annotations

from runtime.host.finding import Finding, good, off
from runtime.host.machine import Machine
from runtime.state_dir import StateDir, state_dir


def private(machine: Machine, *, state: StateDir | None = None) -> Finding:
    """Files below may be set-user-id, and are the caller's: nobody else may come near them."""
    state = state or state_dir()
    for directory in (state.store, state.runs, state.cache):
        if directory.exists() and directory.stat().st_mode & 0o077:
            return off(f"others may enter `{directory}`", command=f"chmod go= {directory}")
    return good("nobody else may enter the store, runs and caches")


def linger(machine: Machine) -> Finding:
    if machine.uid == 0 or not machine.has("/run/systemd/system"):
        return good("detached runs outlive the login")
    if machine.has(f"/var/lib/systemd/linger/{machine.user}"):
        return good(f"systemd keeps the processes of `{machine.user}` after logout")
    return off("systemd ends detached runs at logout", command=f"loginctl enable-linger {machine.user}")
