"""A machine with GPUs that isn't there: a compiled NVML and CUDA, a driver's files, nodes, /proc and /sys, below one directory.

    box = make_box(tmp_path, gpus=2, mig={1: ["1g.10gb", None, "3g.40gb"]})
    box.use(monkeypatch)                      # this process, and every one that it starts, sees the box
    box.add_process(0, pid=4242, used_bytes=1 << 30)
    box.lose(1)                               # …and a process that is already running sees that

The real nvidia-ml-py talks to it. What can be in `state` say gpu_box_state.py and the `of(device, "…")` in gpu_box/*.c;
`save()` publishes what was changed there.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from gpu_box_amd import AmdGpu, add_kfd_process, amd_nodes, make_amd
from gpu_box_driver import listening, make_driver_root, make_nodes, make_proc, make_sys, nvidia_nodes, write
from gpu_box_state import box_state

from runtime.gpu.roots import Roots

_VARIABLES = ("NVML_LIBRARY", "DRIVER_ROOT", "DEV_ROOT", "PROC_ROOT", "SYS_ROOT", "LEASE_DIR")
_CRASH = -1
_LIB_RM_VERSION_MISMATCH, _DRIVER_NOT_LOADED, _GPU_IS_LOST, _XID_EVENT = 18, 9, 15, 8


@dataclass
class GpuBox:
    directory: Path
    roots: Roots
    env: dict[str, str]
    """Points a program at the box. Variables that are unset on it (no driver, no library) are not in there: see `use`."""
    state: dict[str, Any]
    driver: str
    amd: tuple[AmdGpu, ...] = ()
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    """`persistenced` and `fabricmanager`, served; close one and its file refuses."""

    @property
    def uuids(self) -> tuple[str, ...]:
        """By NVML's index; the AMD GPUs behind."""
        return (*(gpu["uuid"] for gpu in self.state["gpus"]), *(gpu.uuid for gpu in self.amd))

    def mig_uuids(self, gpu: int) -> tuple[str, ...]:
        return tuple(one["uuid"] for one in self.state["gpus"][gpu]["mig"] if one)

    def use(self, patch: pytest.MonkeyPatch) -> None:
        """This process and those that it starts see the box, and nothing of this machine's own GPUs."""
        for name in (*(f"LAUNCH_{variable}" for variable in _VARIABLES), "LAUNCH_DRIVER_LIBRARIES", "CUDA_VISIBLE_DEVICES"):
            patch.delenv(name, raising=False)
        for name, value in self.env.items():
            patch.setenv(name, value)

    def save(self) -> None:
        """Publish `state`, by rename: a process that is reading sees one or the other."""
        partial = self.directory / "state.json.partial"
        partial.write_text(json.dumps(self.state))
        partial.rename(self.directory / "state.json")

    def add_process(
        self,
        gpu: int,
        pid: int,
        *,
        used_bytes: int | None = 1 << 30,
        kind: str = "processes",
        mig: int | None = None,
        uid: int | None = None,
        command: str | None = None,
        cgroup: str = "/user.slice",
    ) -> None:
        """Put *pid* on a GPU (or on its slice at index *mig*). *kind*: `processes` (compute), `graphics`, `mps`.

        It is this machine's process of that number; with *uid* or *command* one that isn't there, in the box's own /proc.
        """
        entry: dict[str, Any] = {"pid": pid, "memory": used_bytes}
        of = self.state["gpus"][gpu]
        if mig is not None:
            entry |= {"gi": of["mig"][mig]["gi"], "ci": of["mig"][mig]["ci"]}
            of["mig"][mig]["memory_used"] += used_bytes or 0
        of[kind].append(entry)
        of["memory_used"] = of.get("memory_used", 0) + (used_bytes or 0)
        self._show_in_proc(pid, uid, command, cgroup)
        self.save()

    def add_amd_process(self, number: int, pid: int, *, used_bytes: int = 1 << 30) -> None:
        add_kfd_process(self.roots.sys, pid, self.amd[number], used_bytes)
        self._show_in_proc(pid, None, None, None)

    def remove_process(self, gpu: int, pid: int) -> None:
        of = self.state["gpus"][gpu]
        gone = [one for kind in ("processes", "graphics", "mps") for one in of[kind] if one["pid"] == pid]
        of["memory_used"] -= sum(one["memory"] or 0 for one in gone)
        for kind in ("processes", "graphics", "mps"):
            of[kind] = [one for one in of[kind] if one["pid"] != pid]
        self.save()

    def fire_xid(self, gpu: int, xid: int) -> None:
        """An Xid error of *gpu*, for whoever waits for events."""
        self.state["events"].append({"gpu": gpu, "type": _XID_EVENT, "data": xid})
        self.save()

    def lose(self, gpu: int) -> None:
        """Every call on *gpu* fails: it fell off the bus."""
        self.fail("*", _GPU_IS_LOST, gpu=gpu)

    def fail(self, symbol: str, code: int, *, gpu: int | None = None) -> None:
        """*symbol* answers *code*; on one GPU, `*` is all of its calls. Code 0: works again."""
        (self.state if gpu is None else self.state["gpus"][gpu])["errors"][symbol] = code
        self.save()

    def delay(self, symbol: str, ms: int, *, gpu: int | None = None) -> None:
        """*symbol* takes *ms*; on one GPU, `*` is all of its calls."""
        (self.state if gpu is None else self.state["gpus"][gpu])["delays_ms"][symbol] = ms
        self.save()

    def crash(self, symbol: str, *, gpu: int) -> None:
        """*symbol* ends whatever process calls it for that GPU."""
        self.fail(symbol, _CRASH, gpu=gpu)

    def remove(self) -> None:
        """Close the sockets, and remove what lies outside of the directory."""
        for served in self.sockets.values():
            served.close()
        if self.roots.dev != self.directory:
            shutil.rmtree(self.roots.dev, ignore_errors=True)

    def _show_in_proc(self, pid: int, uid: int | None, command: str | None, cgroup: str | None) -> None:
        own = self.roots.proc / "proc" / str(pid)
        if uid is None and command is None:
            if not own.is_symlink():
                own.symlink_to(f"/proc/{pid}")
            return
        write(own / "status", f"Name:\tprocess\nPid:\t{pid}\nPPid:\t1\nUid:\t{uid or 0}\t{uid or 0}\t{uid or 0}\t{uid or 0}\n")
        write(own / "comm", f"{(command or 'process').split()[0][:15]}\n")
        write(own / "stat", f"{pid} (process) S 1 {pid} {pid} 0 -1 0\n")
        write(own / "cmdline", "\0".join((command or "").split()) + "\0")
        write(own / "cgroup", f"0::{cgroup}\n")
        if os.geteuid() == 0:
            os.chown(own, uid or 0, -1)


def make_box(
    directory: Path,
    *,
    gpus: int = 8,
    model: str | Sequence[str] = "NVIDIA H100 80GB HBM3",
    driver: str = "580.95.05",
    cuda: str = "13.0",
    module: str | None = None,
    loaded: bool = True,
    installed: bool = True,
    minors: Sequence[int] | None = None,
    mig: Mapping[int, Sequence[str | None]] | None = None,
    topology: str = "nvswitch",
    library_directory: str = "usr/lib/x86_64-linux-gnu",
    amd: int = 0,
    machine: str = "",
) -> GpuBox:
    """A box below *directory*.

    *model*: one for all, or one for each (then *gpus* is their number). *module*: version of the kernel module where it is not
    *driver*'s. *loaded* false: libraries, and no module. *installed* false: no NVIDIA driver at all. *minors*: in reverse order
    unless given. *mig*: index → profiles, None where there is a hole. *topology*: `nvswitch`, `pairs` or `pcie`.
    *amd*: so many AMD GPUs besides. *machine*: another word, other UUIDs of NVIDIA's.
    """
    models = [model] * gpus if isinstance(model, str) else list(model)
    if not installed:
        models = []
    state = box_state(
        models,
        driver=driver,
        cuda=cuda,
        minors=minors if minors is not None else range(len(models))[::-1],
        mig=mig or {},
        topology=topology,
        machine=machine,
    )
    directory.mkdir(parents=True, exist_ok=True)
    nodes = [*(nvidia_nodes(state["gpus"]) if installed and loaded else ())]
    dev = make_nodes(directory, [*nodes, *(amd_nodes(amd, first=len(models)) if amd else ())])
    roots = Roots(driver=directory / "driver", dev=dev, proc=directory, sys=directory)
    box = GpuBox(directory=directory, roots=roots, env=_environment(directory, roots), state=state, driver=driver)
    _make_machine(box, library_directory, module=(module or driver) if loaded else None, installed=installed)
    box.amd = make_amd(roots.sys, amd, first=len(models)) if amd else ()
    box.save()
    return box


def _environment(directory: Path, roots: Roots) -> dict[str, str]:
    places = {"DRIVER": roots.driver, "DEV": roots.dev, "PROC": roots.proc, "SYS": roots.sys}
    env = {f"LAUNCH_{name}_ROOT": str(root) for name, root in places.items()}
    return {**env, "LAUNCH_LEASE_DIR": str(directory / "leases"), "FAKE_NVML_CONFIG": str(directory / "state.json")}


def _make_machine(box: GpuBox, library_directory: str, *, module: str | None, installed: bool) -> None:
    roots, gpus = box.roots, box.state["gpus"]
    for root in (roots.driver, roots.dev / "dev", roots.proc / "proc", roots.sys / "sys"):
        root.mkdir(parents=True, exist_ok=True)
    if not installed:
        return
    box.env["LAUNCH_NVML_LIBRARY"] = str(make_driver_root(roots.driver, library_directory, box.state))
    for name in ("persistenced", "fabricmanager"):
        box.sockets[name] = listening(roots.driver / f"run/nvidia-{name}/socket")
    if module is None:
        box.state["errors"]["nvmlInitWithFlags"] = _DRIVER_NOT_LOADED
        return
    make_proc(roots.proc, gpus, module=module)
    make_sys(roots.sys, gpus, module=module)
    if module != box.driver:
        box.state["errors"]["nvmlInitWithFlags"] = _LIB_RM_VERSION_MISMATCH


__all__ = ["GpuBox", "make_box"]
