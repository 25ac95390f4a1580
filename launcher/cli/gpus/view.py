"""What `launch gpus` shows, gathered once: the GPUs, who is on them and in which run, and who holds which lease."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.run.gpus.process_owner import owner_of
from launcher.schedule.foreign_use import ProcessOwner
from runtime.gpu.gpu import Gpu
from runtime.gpu.inventory import read_all_gpus
from runtime.gpu.leases.lease import Holder, holders
from runtime.gpu.roots import Roots
from runtime.gpu.topology import Topology, read_topology
from runtime.gpu.visible_devices import restriction, visible_gpus
from runtime.light_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Process:
    """A process on a GPU, as people know it. *who* is None for one in another PID namespace than ours."""

    who: ProcessOwner | None
    command: str


@dataclass(frozen=True, slots=True)
class View:
    gpus: tuple[Gpu, ...]
    ours: frozenset[str | None]
    """UUIDs of those that CUDA_VISIBLE_DEVICES and the like leave us."""
    restriction: str | None
    """What leaves us fewer than there are, as it is written."""
    leases: Mapping[str, tuple[Holder, ...]]
    processes: Mapping[int, Process]
    topology: Topology | None = None

    def leases_of(self, uuid: str | None) -> tuple[Holder, ...]:
        return self.leases.get(uuid or "", ())


def look(environ: Mapping[str, str], *, with_topology: bool) -> View:
    """Raises GpuError when NVML does not come up, or when it is not clear which GPUs are ours."""
    roots = Roots.of_this_machine()
    gpus = read_all_gpus(roots=roots)
    ours = visible_gpus(gpus, environ)
    leases = holders([uuid for gpu in gpus for uuid in (gpu.uuid, *(one.uuid for one in gpu.mig)) if uuid])
    supervisors = {one.pid: one.run for held in leases.values() for one in held if one.pid and one.run}
    return View(
        gpus=gpus,
        ours=frozenset(gpu.uuid for gpu in ours),
        restriction=restriction(environ) if len(ours) < len(gpus) else None,
        leases=leases,
        processes={process.pid: _process(process.pid, supervisors, roots) for gpu in gpus for process in gpu.processes},
        topology=read_topology(gpus, roots=roots) if with_topology else None,
    )


def _process(pid: int, supervisors: Mapping[int, str], roots: Roots) -> Process:
    return Process(owner_of(pid, supervisors, roots), _command(pid, roots))


def _command(pid: int, roots: Roots) -> str:
    try:
        content = (roots.proc / "proc" / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return content.replace(b"\0", b" ").decode(errors="replace").strip()


def document(view: View) -> dict[str, Any]:
    """For `--json`: everything, with the reason for what is not told."""
    return {
        "restriction": view.restriction,
        "gpus": [_gpu_document(gpu, view) for gpu in view.gpus],
        **({} if view.topology is None else {"links": _links(view, view.topology)}),
    }


def _gpu_document(gpu: Gpu, view: View) -> dict[str, Any]:
    from runtime.light_dataclasses import asdict

    plain = asdict(gpu)
    del plain["pids"]
    return {
        **plain,
        "cuda": None if gpu.cuda is None else f"{gpu.cuda[0]}.{gpu.cuda[1]}",
        "healthy": gpu.trouble is None,
        "ours": gpu.uuid in view.ours,
        "unknown": dict(gpu.unknown),
        "mig": [{**one, "leases": _leases(one["uuid"], view)} for one in plain["mig"]],
        "processes": [{**one, **_process_document(view.processes[one["pid"]])} for one in plain["processes"]],
        "leases": _leases(gpu.uuid, view),
    }


def _process_document(process: Process) -> dict[str, Any]:
    who = process.who
    return {
        "user": None if who is None else who.user,
        "run": None if who is None else who.run,
        "command": process.command or None,
    }


def _leases(uuid: str | None, view: View) -> list[dict[str, Any]]:
    from runtime.light_dataclasses import asdict

    return [asdict(holder) for holder in view.leases_of(uuid)]


def _links(view: View, topology: Topology) -> list[dict[str, Any]]:
    named = [gpu for gpu in view.gpus if gpu.uuid]
    return [
        {"gpus": [a.index, b.index], "link": topology.link(a.uuid or "", b.uuid or "").word}
        for number, a in enumerate(named)
        for b in named[number + 1 :]
    ]
