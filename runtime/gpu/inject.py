"""What a container gets for its leased GPUs: device nodes, driver files, environment.

Computed from the live driver at each start, so that nothing can be out of date; no hooks are run, and nothing is told to systemd
or a device cgroup that a `daemon-reload` could take back: a node that is bound stays.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from runtime.errors import GpuError
from runtime.gpu.edits import Edits
from runtime.gpu.gpu import Gpu, MigInstance
from runtime.gpu.node_edits import groups_of, node, nodes_there
from runtime.gpu.nvidia.driver import find_driver
from runtime.gpu.nvidia.driver_files import ALWAYS, LIBRARY_DIR, driver_files
from runtime.gpu.nvidia.proc_driver import MIG_MINORS, mig_minors
from runtime.gpu.roots import Roots
from runtime.rootfs.mount_spec import DeviceNode

_CONTROL = ("/dev/nvidiactl", "/dev/nvidia-uvm")
_OPTIONAL = ("/dev/nvidia-uvm-tools",)
_MODESET = "/dev/nvidia-modeset"
_MODPROBE_PATIENCE_S = 20.0

# `void`: a toolkit nested inside must do nothing. CUDA_VISIBLE_DEVICES stays unset: only leased nodes exist.
_ENV = (("NVIDIA_VISIBLE_DEVICES", "void"), ("CUDA_DEVICE_ORDER", "PCI_BUS_ID"))


def injection(
    gpus: Sequence[Gpu], uuids: Sequence[str], *, capabilities: frozenset[str] = ALWAYS, roots: Roots | None = None
) -> Edits:
    """The edits for the leased *uuids* (of GPUs or MIG instances) among *gpus*. Raises GpuError when something is missing."""
    roots = roots or Roots.of_this_machine()
    leased = [_find_leased(gpus, uuid) for uuid in uuids]
    edits = Edits()
    if any(gpu.vendor == "nvidia" for gpu, _ in leased):
        edits = edits.plus(nvidia_driver(capabilities=capabilities, roots=roots))
    for gpu, instance in leased:
        edits = edits.plus(device(gpu, instance, capabilities=capabilities, roots=roots))
    return edits.sorted()


def _find_leased(gpus: Sequence[Gpu], uuid: str) -> tuple[Gpu, MigInstance | None]:
    for gpu in gpus:
        if gpu.uuid == uuid:
            return gpu, None
        for instance in gpu.mig:
            if instance.uuid == uuid:
                return gpu, instance
    raise GpuError(f"the leased GPU `{uuid}` is gone", hint="`launch gpus` shows what this machine has now")


def nvidia_driver(*, capabilities: frozenset[str] = ALWAYS, roots: Roots) -> Edits:
    """What every container with NVIDIA GPUs gets, however many."""
    files, notes = driver_files(find_driver(roots), capabilities)
    _make_uvm(roots)
    nodes = tuple(node(path, roots) for path in _CONTROL) + nodes_there(_OPTIONAL, roots)
    if "display" in capabilities:
        nodes += nodes_there((_MODESET,), roots)
    return Edits(
        env=_ENV,
        nodes=nodes,
        mounts=files,
        library_dirs=(LIBRARY_DIR,),
        groups=groups_of(nodes),
        notes=notes,
    )


def device(gpu: Gpu, instance: MigInstance | None = None, *, capabilities: frozenset[str] = ALWAYS, roots: Roots) -> Edits:
    """What *gpu*, or a slice of it, adds."""
    nodes = _amd_nodes(gpu, roots) if gpu.vendor == "amd" else _nvidia_nodes(gpu, instance, roots)
    if gpu.vendor == "nvidia" and capabilities & {"graphics", "display"}:
        nodes += nodes_there(gpu.render_nodes, roots)
    return Edits(nodes=nodes, groups=groups_of(nodes))


def _nvidia_nodes(gpu: Gpu, instance: MigInstance | None, roots: Roots) -> tuple[DeviceNode, ...]:
    if gpu.minor is None:
        raise GpuError(f"the driver doesn't tell the device node of GPU `{gpu.uuid}`", hint="`launch gpus` shows its trouble")
    if instance is None and gpu.mig_enabled:
        raise GpuError(f"GPU `{gpu.uuid}` is in MIG mode: only its slices can be used", hint="`launch gpus` lists them")
    slices = () if instance is None else _capability_nodes(gpu.minor, instance, roots)
    return (node(f"/dev/nvidia{gpu.minor}", roots), *slices)


def _capability_nodes(gpu_minor: int, instance: MigInstance, roots: Roots) -> tuple[DeviceNode, ...]:
    """The two nodes that open *instance*, a slice of the GPU with *gpu_minor*. Raises GpuError when the kernel lists none."""
    minors = mig_minors(roots)
    slices = f"gpu{gpu_minor}/gi{instance.gpu_instance}"
    nodes = []
    for path in (f"{slices}/access", f"{slices}/ci{instance.compute_instance}/access"):
        if path not in minors:
            raise GpuError(
                f"MIG instance `{instance.uuid}` has no capability node: `{MIG_MINORS}` lists no `{path}`",
                hint="`nvidia-smi mig -lci` lists the instances; after a change the driver makes its nodes anew",
            )
        nodes.append(node(f"/dev/nvidia-caps/nvidia-cap{minors[path]}", roots))
    return tuple(nodes)


def _amd_nodes(gpu: Gpu, roots: Roots) -> tuple[DeviceNode, ...]:
    """ROCm's one door for all GPUs, and the GPU's own nodes (ROCm documentation, "Running ROCm Docker containers")."""
    return tuple(node(path, roots) for path in ("/dev/kfd", *gpu.render_nodes))


def _make_uvm(roots: Roots) -> None:
    """After a boot /dev/nvidia-uvm is often missing until the first CUDA program; the driver's own setuid program makes it."""
    program = shutil.which("nvidia-modprobe")
    if program is None or roots != Roots() or os.path.exists("/dev/nvidia-uvm"):
        return
    subprocess.run(
        [program, "-u", "-c=0"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_MODPROBE_PATIENCE_S,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        check=False,  # whether it helped shows in the next line that asks for the node
    )
