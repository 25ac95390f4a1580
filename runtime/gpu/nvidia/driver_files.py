"""Which files of the driver a container gets, by capability, and where they lie in it.

Every `lib*.so.<version>` goes in but what a named capability has for itself and what only a display server loads: a library that
a new driver brings is never missing. GLVND's dispatch libraries (libGL, libEGL …) never go in: the host's break in an image with
an older glibc. A file is bound under every name that a loader may ask for, its SONAME above all, so that no link has to be made
and nothing is copied.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from runtime.gpu.elf import read_soname
from runtime.gpu.nvidia.driver import Driver
from runtime.rootfs.mount_spec import HostFile

LIBRARY_DIR = "/usr/local/nvidia/lib64"
"""CUDA images have it on LD_LIBRARY_PATH already."""
PROGRAM_DIR = "/usr/bin"
"""The driver's own programs have to be of its version: they lie over those that an image brings."""

CAPABILITIES = ("compute", "utility", "video", "graphics", "display", "ngx", "compat32", "all")
ALWAYS = frozenset(("compute", "utility"))

_GRAPHICS = re.compile(
    r"lib(?:nvidia-(?:egl(?:core|-\w+)|glcore|tls|glsi|fbc|ifr|rtcore|glvkspirv|cbl|vksc-core|present)|nvoptix"
    r"|(?:GLX|EGL|GLESv2|GLESv1_CM)_nvidia)\.so\."
)
_VIDEO = re.compile(r"lib(?:vdpau_nvidia|nvidia-encode|nvidia-opticalflow|nvcuvid)\.so\.")
_NGX = re.compile(r"libnvidia-ngx\.so\.")
_NEVER = re.compile(
    r"(?:nvidia_drv|libglxserver|libnvidia-gtk\d|libnvidia-wayland-client|lib(?:GL|EGL|GLX|OpenGL|GLdispatch|GLES\w*)\.)"
)
_OWN_VERSION = ("libnvidia-nvvm70.so.*",)
_PLATFORMS = tuple(f"libnvidia-egl-{name}.so.*.*" for name in ("gbm", "wayland", "wayland2", "xcb", "xlib"))
_PROGRAMS = ("nvidia-smi", "nvidia-debugdump", "nvidia-persistenced", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server")
_PROGRAM_PLACES = ("usr/bin", "usr/sbin", "usr/local/nvidia/bin", "usr/local/bin", "bin", "opt/bin")
_SOCKETS = ("/run/nvidia-persistenced/socket", "/run/nvidia-fabricmanager/socket")
_GRAPHICS_FILES = {
    "/usr/share/glvnd/egl_vendor.d/10_nvidia.json": None,
    "/usr/share/vulkan/icd.d/nvidia_icd.json": "/etc/vulkan/icd.d/nvidia_icd.json",
    "/etc/vulkan/icd.d/nvidia_icd.json": None,
    "/usr/share/vulkan/implicit_layer.d/nvidia_layers.json": "/etc/vulkan/implicit_layer.d/nvidia_layers.json",
    "/etc/vulkan/implicit_layer.d/nvidia_layers.json": None,
    "/usr/share/egl/egl_external_platform.d/09_nvidia_wayland2.json": None,
    "/usr/share/egl/egl_external_platform.d/10_nvidia_wayland.json": None,
    "/usr/share/egl/egl_external_platform.d/15_nvidia_gbm.json": None,
    "/usr/share/nvidia/nvoptix.bin": None,
}
_COMPUTE_FILES = {"/etc/OpenCL/vendors/nvidia.icd": None}


def capabilities(text: str | None) -> frozenset[str]:
    """What `NVIDIA_DRIVER_CAPABILITIES` asks for; compute and utility are always in it."""
    words = {word.strip() for word in (text or "").split(",")} & set(CAPABILITIES)
    return ALWAYS | (set(CAPABILITIES) - {"all", "compat32"} if "all" in words else words)


def driver_files(driver: Driver, wanted: frozenset[str] = ALWAYS) -> tuple[tuple[HostFile, ...], tuple[str, ...]]:
    """The files of *driver* for the capabilities *wanted*, sorted, and notes about what was left out."""
    sockets, notes = _sockets(driver.root)
    files = [
        *_libraries(driver, wanted),
        *_programs(driver.root),
        *_firmware(driver),
        *_named_files(driver.root, _COMPUTE_FILES),
        *(_named_files(driver.root, _GRAPHICS_FILES) if wanted & {"graphics", "display"} else ()),
        *sockets,
    ]
    at = {file.target: file for file in reversed(files)}
    return tuple(at[target] for target in sorted(at)), tuple(notes)


def _libraries(driver: Driver, wanted: frozenset[str]) -> Iterator[HostFile]:
    graphics = bool(wanted & {"graphics", "display"})
    patterns = [f"lib*.so.{driver.version}", *_OWN_VERSION, *(_PLATFORMS if graphics else ())]
    for directory in driver.directories:
        names = _names_of_links(directory)
        for pattern in patterns:
            for path in sorted(directory.glob(pattern)):
                if path.is_symlink() or not _belongs(path.name, wanted):
                    continue
                for name in sorted({path.name, *names.get(path.name, ()), *_further_names(path)}):
                    yield HostFile(path, f"{LIBRARY_DIR}/{name}")
        if "video" in wanted:
            for path in sorted((directory / "vdpau").glob(f"libvdpau_nvidia.so.{driver.version}")):
                for name in sorted({path.name, read_soname(path) or path.name}):
                    yield HostFile(path, f"{LIBRARY_DIR}/vdpau/{name}")
        allocator = directory / f"libnvidia-allocator.so.{driver.version}"
        if graphics and allocator.exists():
            yield HostFile(allocator, f"{LIBRARY_DIR}/gbm/nvidia-drm_gbm.so")


def _belongs(name: str, wanted: frozenset[str]) -> bool:
    if _NEVER.match(name):
        return False
    if _GRAPHICS.match(name):
        return bool(wanted & {"graphics", "display"})
    if _VIDEO.match(name):
        return "video" in wanted
    return "ngx" in wanted if _NGX.match(name) else True


def _names_of_links(directory: Path) -> dict[str, list[str]]:
    """File → names of links beside it that lead to it (`libcuda.so`, `libcuda.so.1`)."""
    names: dict[str, list[str]] = {}
    for path in directory.glob("lib*.so*"):
        if path.is_symlink():
            target = os.path.realpath(path)
            if os.path.dirname(target) == os.path.realpath(directory):
                names.setdefault(os.path.basename(target), []).append(path.name)
    return names


def _further_names(path: Path) -> Iterator[str]:
    soname = read_soname(path)
    if soname:
        yield soname
    if path.name.startswith("libcuda.so."):
        yield "libcuda.so"
    if path.name.startswith("libGLX_nvidia.so."):
        yield "libGLX_indirect.so.0"


def _programs(root: Path) -> Iterator[HostFile]:
    for name in _PROGRAMS:
        found = next((root / place / name for place in _PROGRAM_PLACES if (root / place / name).is_file()), None)
        if found is not None:
            yield HostFile(found, f"{PROGRAM_DIR}/{name}")


def _firmware(driver: Driver) -> Iterator[HostFile]:
    release = os.uname().release
    for place in (f"lib/firmware/updates/{release}", "lib/firmware/updates", f"lib/firmware/{release}", "lib/firmware"):
        found = sorted((driver.root / place / "nvidia" / driver.version).glob("gsp*.bin"))
        if found:
            yield from (HostFile(path, f"/lib/firmware/nvidia/{driver.version}/{path.name}") for path in found)
            return


def _named_files(root: Path, files: Mapping[str, str | None]) -> Iterator[HostFile]:
    for path, target in files.items():
        source = root / path.lstrip("/")
        if source.is_file():
            yield HostFile(source, target or path)


def _sockets(root: Path) -> tuple[list[HostFile], list[str]]:
    """Sockets of the driver's daemons at which somebody answers: what a dead one leaves would break a start."""
    alive, notes = [], []
    for path in _SOCKETS:
        source = root / path.lstrip("/")
        if not source.is_socket():
            continue
        if _answers(source):
            alive.append(HostFile(source, path, readonly=False))
        else:
            notes.append(f"`{source}` is left out: no daemon answers there")
    return alive, notes


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        # By way of a descriptor: an address has room for 107 bytes.
        directory = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
        try:
            client.connect(f"/proc/self/fd/{directory}/{path.name}")
        except OSError:
            return False
        finally:
            os.close(directory)
    return True


def libraries_in(files: Iterable[HostFile]) -> tuple[Path, ...]:
    """Sources of *files* that are shared libraries: what an image's glibc has to be able to load."""
    return tuple(dict.fromkeys(file.source for file in files if file.target.startswith(f"{LIBRARY_DIR}/")))
