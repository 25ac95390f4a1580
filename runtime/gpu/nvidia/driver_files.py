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
from collections.abc import Iterable, Iterator
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
    r"(?:nvidia_drv|libglxserver|libnvidia-gtk\d|libnvidia-wayland-client|lib(?:GL|EGL|GLX|OpenGL|GLdispatch|GLES(?:v1_CM|v2))\.)"
)
_OWN_VERSION = ("libnvidia-nvvm70.so.*",)
_PLATFORMS = tuple(f"libnvidia-egl-{name}.so.*.*" for name in ("gbm", "wayland", "wayland2", "xcb", "xlib"))
_PROGRAMS = ("nvidia-smi", "nvidia-debugdump", "nvidia-persistenced", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server")
_PROGRAM_PLACES = ("usr/bin", "usr/sbin", "usr/lib/nvidia/current", "usr/local/nvidia/bin", "usr/local/bin", "bin", "opt/bin")
_SOCKETS = ("/run/nvidia-persistenced/socket", "/run/nvidia-fabricmanager/socket")
_GRAPHICS_JSON = {
    "glvnd/egl_vendor.d": "/usr/share/glvnd/egl_vendor.d",
    "egl/egl_external_platform.d": "/usr/share/egl/egl_external_platform.d",
    "vulkan/icd.d": "/etc/vulkan/icd.d",
    "vulkan/implicit_layer.d": "/etc/vulkan/implicit_layer.d",
}
"""Where the loaders of EGL and Vulkan read which libraries are the driver's, below /etc or /usr/share → the same in a container.
The names differ: Debian's and Ubuntu's `nvidia_icd.json` is `nvidia_icd.x86_64.json` in RPM drivers."""
_LIBRARY_BY_PATH = re.compile(r'"library_path"\s*:\s*"(/[^"]+)"')
_OF_32_BIT = ("i386", "i686")
_OPENCL = "/etc/OpenCL/vendors/nvidia.icd"
_OPTIX = "/usr/share/nvidia/nvoptix.bin"


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
        *_first_file([driver.root / _OPENCL.lstrip("/")], _OPENCL),
        *(_graphics_files(driver) if wanted & {"graphics", "display"} else ()),
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


def _graphics_files(driver: Driver) -> Iterator[HostFile]:
    for below, target in _GRAPHICS_JSON.items():
        for place in ("etc", "usr/share"):
            for path in sorted((driver.root / place / below).glob("*nvidia*.json")):
                if path.is_file() and not any(word in path.name for word in _OF_32_BIT):
                    yield HostFile(path, f"{target}/{path.name}")
                    yield from _libraries_by_path(path, driver)
    beside = [directory / "nvoptix.bin" for directory in driver.directories]  # as in Debian
    yield from _first_file([driver.root / _OPTIX.lstrip("/"), *beside], _OPTIX)


def _libraries_by_path(file: Path, driver: Driver) -> Iterator[HostFile]:
    """The libraries that *file* names by a path, as RPM drivers do (`/usr/lib64/libGLX_nvidia.so.0`), at that path."""
    for target in _LIBRARY_BY_PATH.findall(file.read_text(errors="replace")):
        named = [(directory / os.path.basename(target)).resolve() for directory in driver.directories]
        yield from _first_file([path for path in named if path.name.endswith(f".so.{driver.version}")], target)


def _first_file(sources: Iterable[Path], target: str) -> Iterator[HostFile]:
    yield from (HostFile(path, target) for path in [path for path in sources if path.is_file()][:1])


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
