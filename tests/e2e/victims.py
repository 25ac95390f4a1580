"""Who is who among the processes that this test session has brought into being: whom a crash test kills, by role."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from traces import own_processes

from launcher.run.start.supervisor_start import SEND
from launcher.run.start.warm_helpers import HELPER_TITLE
from runtime.json_files import json_object
from runtime.kernel.process_identity import process_started
from runtime.state_dir import StateDir

COMMAND, FORK, HELPER, SERVER = "command", "fork", "helper", "server"
"""What was typed (with a helper: its client); the helper's fork that does it; MLflow's local server."""

ROLES = (COMMAND, FORK, HELPER, "fork server", "sweep", "supervisor", "tracker", "init", "sender", SERVER)


def victims(home: Path, *, but: Iterable[int] = ()) -> dict[str, list[int]]:
    """Role → who has it now, and works for *home*; without those *but*."""
    found: dict[str, list[int]] = {role: [] for role in ROLES}
    processes = {pid: command for pid, command in own_processes() if pid not in set(but)}
    helpers = {pid for pid, command in own_processes() if command == HELPER_TITLE}
    for pid, command in processes.items():
        role = _role(pid, command, helpers, home)
        if role is not None:
            found[role].append(pid)
    server = json_object(StateDir(home).mlflow / "server.json")
    if server and process_started(server["pid"]) == server["started"]:
        found[SERVER].append(int(server["pid"]))
    return found


def _role(pid: int, command: str, helpers: set[int], home: Path) -> str | None:
    if pid in helpers:
        return HELPER
    if command.endswith(f" {SEND} {home}"):
        return "sender"
    if command == "launch-init":
        return "init"
    locks = [path for path in open_files(pid) if path.name in ("supervisor.lock", "tracker.lock") and path.is_relative_to(home)]
    names = {path.name for path in locks}
    if "tracker.lock" in names:
        return "tracker"
    if _parent(pid) in helpers:
        return FORK
    if names:
        is_sweep = any((path.parent / "sweep.json").exists() for path in locks)
        return "sweep" if is_sweep else COMMAND if "/bin/launch " in command else "supervisor"
    if "/bin/launch " in command:
        return COMMAND
    return "fork server" if "/warm/server_main.py" in command or command.startswith("launch ") else None


def open_files(pid: int) -> list[Path]:
    """As far as they have names; none of one that has ended, or is not ours to look at."""
    found = []
    with suppress(OSError):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.append(Path(os.readlink(fd)))
    return found


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def process_children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def kill(pid: int) -> bool:
    """False when it has ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def is_helper(trace: str) -> bool:
    """Whether a trace is a warm helper, which stays for the next command."""
    return trace.startswith("process ") and trace.partition(" ")[2].partition(" ")[2] == HELPER_TITLE


def kill_helpers() -> None:
    """Those of this session, and what is about to become one."""
    for pid, command in own_processes():
        if command == HELPER_TITLE or "/warm/server_main.py" in command:
            kill(pid)
