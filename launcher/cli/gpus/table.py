"""GPUs for people: a line about the machine, a table, and below each GPU its slices, who is on it and what is wrong with it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

from launcher.cli import render
from launcher.cli.gpus.view import View
from runtime.gpu.gpu import Gpu, GpuProcess, MigInstance
from runtime.gpu.leases.lease import SLOTS, Holder
from runtime.gpu.topology import Topology

_HEADER = ("GPU", "MODEL", "UUID", "MEMORY", "BUSY", "POWER", "TEMP", "HEALTH", "LEASED TO")
_COMMAND_WIDTH = 60
_UUID_SHOWN = len("GPU-12345678")


def lines(view: View) -> Iterator[str]:
    yield from _machine(view)
    if not view.gpus:
        return
    head, *rows = render.table(_HEADER, [_row(gpu, view) for gpu in view.gpus]).splitlines()
    yield head
    for row, gpu in zip(rows, view.gpus, strict=True):
        yield row
        yield from (f"     {detail}" for detail in _details(gpu, view))
    if view.topology is not None:
        yield ""
        yield from _matrix(view.gpus, view.topology)


def _machine(view: View) -> Iterator[str]:
    for vendor in dict.fromkeys(gpu.vendor for gpu in view.gpus):
        one = next(gpu for gpu in view.gpus if gpu.vendor == vendor)
        name = "NVIDIA" if vendor == "nvidia" else "AMD"
        cuda = f", CUDA {one.cuda[0]}.{one.cuda[1]}" if one.cuda else ""
        yield f"{name} driver {one.driver or 'unknown'}{cuda}"
    if view.restriction is not None:
        yield f"{view.restriction} leaves us {len(view.ours)} of {len(view.gpus)} GPUs"


def _row(gpu: Gpu, view: View) -> tuple[str, ...]:
    return (
        str(gpu.index),
        gpu.model or "?",
        short(gpu.uuid),
        _memory(gpu.used_bytes, gpu.memory_bytes),
        "-" if gpu.busy_percent is None else f"{gpu.busy_percent} %",
        "-" if gpu.power_w is None else f"{gpu.power_w:.0f} W",
        "-" if gpu.temperature_c is None else f"{gpu.temperature_c:.0f} °C",
        _health(gpu, view),
        _holders(view.leases_of(gpu.uuid)) or ("in slices" if gpu.mig_enabled else "-"),
    )


def _health(gpu: Gpu, view: View) -> str:
    if gpu.trouble:
        return "unusable"
    if gpu.uuid not in view.ours:
        return "not ours"
    return "warning" if gpu.warnings else "ok"


def _details(gpu: Gpu, view: View) -> Iterator[str]:
    if gpu.trouble:
        yield f"{render.styled('unusable', 'red', sys.stdout)}: {gpu.trouble}"
    yield from (f"{render.styled('warning', 'yellow', sys.stdout)}: {words}" for words in gpu.warnings)
    for one in gpu.mig:
        yield _slice(one, view)
        yield from (f"  {_process(process, view)}" for process in gpu.processes if process.mig == one.uuid)
    yield from (_process(process, view) for process in gpu.processes if process.mig is None)


def _slice(one: MigInstance, view: View) -> str:
    held = _holders(view.leases_of(one.uuid))
    name = f"slice {one.index}  {one.profile or '?':<8}  {short(one.uuid)}  {_memory(one.used_bytes, one.memory_bytes)}"
    return f"{name}  leased to {held}" if held else name


def _process(process: GpuProcess, view: View) -> str:
    known = view.processes[process.pid]
    used = "memory not told" if process.used_bytes is None else f"{process.used_bytes / 2**30:.1f} GiB"
    if known.who is None:
        return f"pid {process.pid}  {used}  of another PID namespace, or ended"
    run = "outside launch" if known.who.run is None else f"run {known.who.run}"
    kind = "" if process.kind == "compute" else f"  ({process.kind})"
    command = render.printable(known.command or known.who.name)[:_COMMAND_WIDTH]
    return f"pid {process.pid}  {render.printable(known.who.user)}  {run}  {used}{kind}  {command}"


def _holders(held: Sequence[Holder]) -> str:
    return ", ".join(map(_holder, held))


def _holder(holder: Holder) -> str:
    words = f"run {holder.run}" if holder.run else f"pid {holder.pid}" if holder.pid else "an unknown process"
    if holder.user:
        words += f" of {holder.user}"
    if holder.slots < SLOTS:
        words = f"{holder.slots / SLOTS:g} {words}"
    since = "" if holder.since is None else f", {render.duration(max(0.0, time.time() - holder.since))}"
    return render.printable(words) + since


def short(uuid: str | None) -> str:
    return "?" if uuid is None else uuid[:_UUID_SHOWN]


def _memory(used: int | None, total: int | None) -> str:
    if total is None:
        return "-"
    return f"{'?' if used is None else f'{used / 2**30:.1f}'} of {total / 2**30:.0f} GiB"


def _matrix(gpus: Sequence[Gpu], topology: Topology) -> Iterator[str]:
    header = ("", *(f"GPU {gpu.index}" for gpu in gpus), "NUMA NODE", "CPUS")
    rows = [
        (
            f"GPU {gpu.index}",
            *("?" if gpu.uuid is None or other.uuid is None else topology.link(gpu.uuid, other.uuid).word for other in gpus),
            "-" if gpu.numa_node is None else str(gpu.numa_node),
            gpu.cpus or "-",
        )
        for gpu in gpus
    ]
    yield from render.table(header, rows).splitlines()
    yield ""
    yield "NV18: 18 NVLinks  PIX, PXB: one or several PCIe switches  PHB: host bridge  NODE: one NUMA node  SYS: across nodes"
