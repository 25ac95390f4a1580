"""The files of a driver: libraries, programs, firmware and sockets; nodes; what the kernel shows in /proc and /sys."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gpu_box_libraries as libraries
from gpu_box_state import CPUS, capability_minors

_SONAMES = {
    "libcudadebugger": 1,
    "libnvidia-opencl": 1,
    "libnvidia-ptxjitcompiler": 1,
    "libnvidia-nvvm": 4,
    "libnvidia-allocator": 1,
    "libnvidia-cfg": 1,
    "libnvidia-encode": 1,
    "libnvcuvid": 1,
    "libnvidia-opticalflow": 1,
    "libnvidia-fbc": 1,
    "libnvoptix": 1,
    "libGLX_nvidia": 0,
    "libEGL_nvidia": 0,
    "libGLESv2_nvidia": 2,
    "libnvidia-ngx": 1,
}
"""Stem → the number of its SONAME; those below have their version in it."""
_VERSIONED = ("libnvidia-gpucomp", "libnvidia-glcore", "libnvidia-eglcore", "libnvidia-rtcore", "libnvidia-tls", "libnvidia-glsi")
_DISPATCH = ("libGL.so.1", "libEGL.so.1", "libGLX.so.0", "libOpenGL.so.0", "libGLdispatch.so.0")
"""GLVND's: not of the driver, beside it, and never to be given to a container."""
_PROGRAMS = ("nvidia-debugdump", "nvidia-persistenced", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server")
_SMI = """#!/bin/sh
# Not NVIDIA's: lists the GPUs whose node is here.
echo "NVIDIA-SMI {driver}  CUDA Version: {cuda}"
for node in /dev/nvidia[0-9]*; do [ -e "$node" ] && echo "GPU at $node"; done
exit 0
"""
DECOY_VERSION = "470.57.02"


def make_driver_root(root: Path, directory: str, state: dict[str, Any]) -> Path:
    """All files below *root*, libraries in *directory*, and of an older driver in another. Returns the path of libnvidia-ml."""
    driver = str(state["system"]["driver_version"])
    place = root / directory
    decoy = root / ("usr/lib64" if directory != "usr/lib64" else "usr/lib/x86_64-linux-gnu")
    _library(place, "libnvidia-ml", driver, "libnvidia-ml.so.1", libraries.with_state(libraries.nvml(driver), state))
    _library(place, "libcuda", driver, "libcuda.so.1", libraries.with_state(libraries.cuda(), state))
    (place / "libcuda.so").symlink_to("libcuda.so.1")
    for stem, number in _SONAMES.items():
        _library(place, stem, driver, f"{stem}.so.{number}", libraries.stub(f"{stem}.so.{number}"))
    for stem in _VERSIONED:
        _library(place, stem, driver, f"{stem}.so.{driver}", libraries.stub(f"{stem}.so.{driver}"))
    for name in _DISPATCH:
        (place / name).write_bytes(libraries.stub(name))
    _library(place / "vdpau", "libvdpau_nvidia", driver, "libvdpau_nvidia.so.1", libraries.stub("libvdpau_nvidia.so.1"))
    for stem in ("libcuda", "libnvidia-ml"):
        _library(decoy, stem, DECOY_VERSION, f"{stem}.so.1", libraries.stub(f"{stem}.so.1"), linked=False)
        thirty_two = libraries.of_32_bit(libraries.stub(f"{stem}.so.1"))
        _library(root / "usr/lib/i386-linux-gnu", stem, driver, f"{stem}.so.1", thirty_two)
    _programs(root, state)
    _others(root, driver)
    return place / "libnvidia-ml.so.1"


def _library(directory: Path, stem: str, driver: str, soname: str, content: bytes, *, linked: bool = True) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{stem}.so.{driver}"
    file.write_bytes(content)
    file.chmod(0o755)
    if linked and soname != file.name:
        (directory / soname).symlink_to(file.name)


def _programs(root: Path, state: dict[str, Any]) -> None:
    system = state["system"]
    cuda = f"{system['cuda_version'] // 1000}.{system['cuda_version'] % 1000 // 10}"
    scripts = {"nvidia-smi": _SMI.format(driver=system["driver_version"], cuda=cuda)}
    scripts |= {name: f"#!/bin/sh\necho {name} {system['driver_version']}\n" for name in _PROGRAMS}
    for name, text in scripts.items():
        write(root / "usr/bin" / name, text)
        (root / "usr/bin" / name).chmod(0o755)


def _others(root: Path, driver: str) -> None:
    for chip in ("ga10x", "tu10x"):
        write(root / f"lib/firmware/nvidia/{driver}/gsp_{chip}.bin", f"firmware of {chip}\n")
    write(root / "usr/share/vulkan/icd.d/nvidia_icd.json", '{"ICD": {"library_path": "libGLX_nvidia.so.0"}}\n')
    write(root / "usr/share/glvnd/egl_vendor.d/10_nvidia.json", '{"ICD": {"library_path": "libEGL_nvidia.so.0"}}\n')
    write(root / "etc/OpenCL/vendors/nvidia.icd", "libnvidia-opencl.so.1\n")


def listening(path: Path) -> socket.socket:
    """A socket that somebody serves; closed, its file stays and refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    served = socket.socket(socket.AF_UNIX)
    parent = os.open(path.parent, os.O_PATH)  # an address has room for 107 bytes, fewer than some tests' directories have
    try:
        served.bind(f"/proc/self/fd/{parent}/{path.name}")
    finally:
        os.close(parent)
    served.listen()
    return served


# ---- nodes ----


def make_nodes(root: Path, names: Iterable[str]) -> Path:
    """Character devices below *root*, or where that can't be, below a directory of memory, which is returned.

    Root's open as /dev/null does. Anybody may make a node 0:0 on a tmpfs: a character device, which opens with ENXIO.
    """
    device = os.makedev(1, 3) if os.geteuid() == 0 else os.makedev(0, 0)
    if os.geteuid() != 0:
        root = Path(tempfile.mkdtemp(prefix="launch-gpu-box-", dir="/dev/shm"))
        atexit.register(shutil.rmtree, root, ignore_errors=True)
    for name in names:
        path = root / "dev" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(path, stat.S_IFCHR | 0o666, device)
        path.chmod(0o666)
    return root


def nvidia_nodes(gpus: Sequence[dict[str, Any]]) -> Iterable[str]:
    yield from ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
    for number, gpu in enumerate(gpus):
        yield f"nvidia{gpu['minor']}"
        yield f"dri/card{number}"
        yield f"dri/renderD{128 + number}"
        if gpu.get("mig_mode"):
            yield from (f"nvidia-caps/nvidia-cap{minor}" for one in gpu["mig"] if one for minor in one["caps"])
    if any(gpu.get("mig_mode") for gpu in gpus):
        yield from ("nvidia-caps/nvidia-cap1", "nvidia-caps/nvidia-cap2")


# ---- /proc and /sys ----


def make_proc(root: Path, gpus: Sequence[dict[str, Any]], *, module: str) -> None:
    driver = root / "proc/driver/nvidia"
    write(
        driver / "version",
        f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {module}  Release Build  (builder@host)  Tue Sep 23 2025\n"
        "GCC version:  gcc version 13.3.0\n",
    )
    write(driver / "params", "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\nDeviceFileUID: 0\nDeviceFileMode: 438\n")
    write(driver / "registry", 'Binary: ""\n')
    for gpu in gpus:
        write(driver / "gpus" / gpu["pci_bus_id"].lower() / "information", _information(gpu))
        for one in gpu.get("mig") or ():
            if one:
                _access(driver / f"capabilities/gpu{gpu['minor']}/mig", one)
    minors = ["config 1", "monitor 2"]
    for gpu in range(8):
        for instance in range(15):
            first, second = capability_minors(gpu, instance)
            minors.append(f"gpu{gpu}/gi{instance}/access {first}")
            minors += [f"gpu{gpu}/gi{instance}/ci{compute}/access {second + compute}" for compute in range(8)]
    write(root / "proc/driver/nvidia-caps/mig-minors", "\n".join(minors) + "\n")
    frontend = "nvidia" if int(module.split(".")[0]) >= 550 else "nvidia-frontend"
    majors = f"  1 mem\n195 {frontend}\n226 drm\n235 nvidia-caps\n510 nvidia-uvm\n"
    write(root / "proc/devices", f"Character devices:\n{majors}\nBlock devices:\n259 blkext\n")
    write(root / "proc/modules", "nvidia_uvm 4784128 0 - Live 0x0\nnvidia 14381056 1 nvidia_uvm, Live 0x0\n")


def _information(gpu: dict[str, Any]) -> str:
    lines = {
        "Model": gpu["name"],
        "GPU UUID": gpu["uuid"],
        "Bus Location": gpu["pci_bus_id"].lower(),
        "Device Minor": gpu["minor"],
    }
    return "".join(f"{name}: \t {value}\n" for name, value in lines.items())


def _access(directory: Path, one: dict[str, Any]) -> None:
    first, second = one["caps"]
    for path, minor in ((f"gi{one['gi']}/access", first), (f"gi{one['gi']}/ci{one['ci']}/access", second)):
        write(directory / path, f"DeviceFileMinor: {minor}\nDeviceFileMode: 292\nDeviceFileModify: 1\n")


def make_sys(root: Path, gpus: Sequence[dict[str, Any]], *, module: str) -> None:
    write(root / "sys/module/nvidia/version", f"{module}\n")
    write(root / "sys/module/firmware_class/parameters/path", "\n")
    for node, cpus in enumerate(CPUS):
        write(root / f"sys/devices/system/node/node{node}/cpulist", f"{cpus}\n")
    for number, gpu in enumerate(gpus):
        make_pci_device(root, gpu["pci_bus_id"], number, node=gpu["numa_node"], vendor="0x10de")


def make_pci_device(root: Path, address: str, number: int, *, node: int, vendor: str) -> Path:
    """The device's directory, with its two nodes of the direct rendering manager."""
    device = root / "sys/bus/pci/devices" / address.lower()
    write(device / "vendor", f"{vendor}\n")
    write(device / "numa_node", f"{node}\n")
    write(device / "local_cpulist", f"{CPUS[node]}\n")
    for name in (f"card{number}", f"renderD{128 + number}"):
        (device / "drm" / name).mkdir(parents=True)
        by_class = root / "sys/class/drm" / name
        by_class.mkdir(parents=True)
        (by_class / "device").symlink_to(device)
    return device


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
