"""Cgroups below our own: made with the limits of a launch, found again by name, and swept when their maker was killed.

Where one may be made in the v2 hierarchy is in `v2_parent.py`, how limits are written in `limit_files.py`. A limit that
cannot be enforced here never stops a run: `Cgroup.warnings` names it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.cgroup import v2_parent
from runtime.cgroup.cgroup import Cgroup
from runtime.cgroup.control_file import apply_settings, make_empty
from runtime.cgroup.hierarchies import Hierarchies, own_hierarchies
from runtime.cgroup.limit_files import v1_settings, v2_settings
from runtime.cgroup.limits import Limits
from runtime.kernel.process_identity import start_time
from runtime.oci.resource_config import Cpu, Memory, Resources

V1_CONTROLLERS = ("memory", "cpu", "cpuacct", "pids")
"""One directory each, below our own in that controller's hierarchy. `cpu` and `cpuacct` are often one mount."""

FREEZER = "freezer"
"""Needed only where there is no v2 hierarchy, which freezes without controllers (`freezer.py`)."""

_CPU_PERIOD_US = 100_000

_OF_MAKERS = re.compile(r"launch-.+\.(\d+)-(\d+)")


@contextmanager
def new_cgroup(name: str, limits: Limits) -> Iterator[Cgroup]:
    """A cgroup *name* below our own, with *limits*; what is left inside at the end is killed, and it is removed."""
    cgroup = make_cgroup(name, limits)
    try:
        yield cgroup
    except BaseException as error:
        try:
            cgroup.kill()
            cgroup.remove()
        except Exception as undo_error:
            error.add_note(f"while removing cgroup `{name}`: {undo_error}")
        raise
    else:
        cgroup.kill()
        cgroup.remove()


def make_cgroup(name: str, limits: Limits) -> Cgroup:
    """`new_cgroup` without the undo, for who removes it by name later. Nothing is left behind when it fails."""
    own = own_hierarchies()
    resources = resources_of(limits)
    controllers, refused = _make_legacy(own.legacy, name, _legacy_controllers(own))
    reasons: dict[str, str] = {controller: _reason(error) for controller, error in refused.items()}
    failed = apply_settings(v1_settings(resources), controllers) if own.legacy else {}
    unified: Path | None = None
    if own.unified is not None and own.unified_mount is not None:
        unified, given, reason = _make_unified(own, name)
        over_v2 = dict.fromkeys(given, unified) if unified is not None else {}
        if over_v2:
            controllers = {**over_v2, **controllers}
            failed = {key: why for key, why in failed.items() if key not in over_v2}
            failed |= apply_settings([s for s in v2_settings(resources) if s.controller in over_v2], over_v2)
        if unified is not None:
            reason = reason or f"cgroup `{unified.parent}` is not given this controller"
        if reason is not None:
            reasons = dict.fromkeys(v2_parent.CONTROLLERS, reason) | reasons
        if not own.legacy:
            missing = [s for s in v2_settings(resources) if s.controller not in over_v2]
            failed |= dict.fromkeys((s.controller for s in missing), None)
    return Cgroup(name, controllers, unified, _warnings(limits, failed, reasons))


def _legacy_controllers(own: Hierarchies) -> Sequence[str]:
    return V1_CONTROLLERS if own.unified is not None else (*V1_CONTROLLERS, FREEZER)


def _make_legacy(own: dict[str, Path], name: str, controllers: Sequence[str]) -> tuple[dict[str, Path], dict[str, OSError]]:
    """Make *name* below our own directory of each controller. Returns what was made, and why the rest was not."""
    made: dict[str, Path] = {}
    refused: dict[str, OSError] = {}
    for controller in controllers:
        if controller not in own:
            continue
        directory = own[controller] / name
        try:
            if directory not in made.values():
                make_empty(directory)
        except OSError as error:
            refused[controller] = error
        else:
            made[controller] = directory
    return made, refused


def resources_of(limits: Limits) -> Resources:
    """*limits* as a bundle would ask for them."""
    quota = None
    if limits.cpus is not None:
        quota = max(1000, round(limits.cpus * _CPU_PERIOD_US))  # CFS bandwidth; the kernel wants a quota of 1 ms at least
    return Resources(
        # Memory plus swap gets the same limit: with swap left open the limit would only push the program there.
        memory=Memory(limit=limits.memory_bytes, swap=limits.memory_bytes),
        cpu=Cpu(quota=quota, period=None if quota is None else _CPU_PERIOD_US),
        pids=limits.pids,
    )


def _make_unified(own: Hierarchies, name: str) -> tuple[Path | None, frozenset[str], str | None]:
    """Directory in the v2 hierarchy, the controllers it has, and why it has none."""
    assert own.unified is not None
    assert own.unified_mount is not None
    parent = v2_parent.find_parent(own.unified, own.unified_mount, ask_systemd=_ask_systemd)
    directory = parent.directory / name
    try:
        make_empty(directory)
    except OSError as error:
        return None, frozenset(), _reason(error)
    return directory, parent.controllers, parent.reason


def _ask_systemd() -> Path | None:
    from runtime.cgroup.systemd_scope import move_into_delegated_scope  # brings socket, for v2 machines only

    return move_into_delegated_scope()


def _reason(error: OSError) -> str:
    return f"`{error.filename}`: {os.strerror(error.errno or 0).lower()}"


def _warnings(limits: Limits, failed: dict[str, OSError | None], reasons: dict[str, str]) -> tuple[str, ...]:
    """One sentence a limit. The default process limit is a safety net that nobody asked for: its absence is not news."""
    asked = {
        "memory": None if limits.memory_bytes is None else f"the memory limit of {limits.memory_bytes / 2**20:.0f} MiB",
        "cpu": None if limits.cpus is None else f"the limit of {limits.cpus:g} CPUs",
        "pids": None if limits.pids in (None, Limits().pids) else f"the limit of {limits.pids} processes",
    }
    sentences = []
    for controller, error in failed.items():
        if (what := asked.get(controller)) is not None:
            why = (
                _reason(error) if error is not None else reasons.get(controller, f"this machine has no `{controller}` controller")
            )
            sentences.append(f"{what} is not enforced: {why}")
    return tuple(sentences)


def open_cgroup(name: str) -> Cgroup:
    """The cgroup *name* that some process of ours made, wherever it is; without directories when there is none.

    Looks below our own cgroups first. A run that is recovered was made from another session, so then everywhere.
    """
    own = own_hierarchies()
    controllers: dict[str, Path] = {}
    for controller in _legacy_controllers(own):
        if controller in own.legacy and (found := _find(name, own.legacy[controller], own.legacy_mounts[controller])):
            controllers[controller] = found
    unified = None
    if own.unified is not None and own.unified_mount is not None:
        unified = _find(name, own.unified, own.unified_mount)
        if unified is not None:
            given = (unified / "cgroup.controllers").read_text().split()
            controllers = {key: unified for key in v2_parent.CONTROLLERS if key in given} | controllers
    return Cgroup(name, controllers, unified)


def _find(name: str, own: Path, mount: Path) -> Path | None:
    for near in (own / name, own.parent / name):
        if near.is_dir():
            return near
    for parent, children, _ in os.walk(mount):
        if name in children:
            return Path(parent, name)
    return None


def own_name(container_id: str) -> str:
    """A name that says who made a cgroup, for containers that end with their maker (build steps): `launch-ID.PID-STARTED`, where
    STARTED tells a reused PID. A run's cgroup outlives its supervisor; the journal names it."""
    pid = os.getpid()
    return f"launch-{container_id}.{pid}-{start_time(pid)}"


def sweep_abandoned(cgroup: Cgroup) -> int:
    """Remove abandoned cgroups in the directories that *cgroup* was made in; how many directories."""
    swept = 0
    for parent in {directory.parent for directory in cgroup.directories}:
        for name in os.listdir(parent):
            match = _OF_MAKERS.fullmatch(name)
            if match is not None and start_time(int(match[1])) != int(match[2]):
                # Refused while processes are dying in it, or when another sweeper was faster: the next one comes.
                with suppress(OSError):
                    os.rmdir(parent / name)
                    swept += 1
    return swept
