"""Find the NVIDIA driver's user-space libraries on this machine, and compare them with the kernel module that is loaded.

In this order: `LAUNCH_DRIVER_LIBRARIES`; what the dynamic loader itself takes for `libcuda.so.1` (it knows LD_LIBRARY_PATH, its
cache, and places that no list has); the usual directories; the loader's cache below another root (`LAUNCH_DRIVER_ROOT`). The
version is the suffix of libcuda's file. When library and module differ nothing started now could use the GPU.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.errors import BadContent, GpuError
from runtime.gpu.nvidia.proc_driver import module_version
from runtime.gpu.roots import Roots
from runtime.gpu.side_process import Tell, ask, listen
from runtime.kernel.ld_cache import read_cache
from runtime.light_dataclasses import dataclass

_WANTED = ("libcuda.so", "libnvidia-ml.so")
_SEARCH = (
    "usr/lib64",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/nvidia/current",
    "usr/lib/aarch64-linux-gnu/nvidia/current",
    "lib64",
    "lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
    "usr/local/nvidia/lib64",
    "usr/local/nvidia/lib",
    "usr/lib64/nvidia",
    "usr/lib",
)
_OF_NIXOS = "run/opengl-driver/lib/libcuda.so.1"
"""A link into the driver's directory of the store, which neither a list nor a cache knows (nixpkgs, hardware/graphics.nix)."""
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Driver:
    """User-space libraries of one version."""

    version: str
    directories: tuple[Path, ...]
    """Where its libraries lie, that of libcuda first."""
    root: Path = Path("/")
    """What its other files (programs, firmware, configuration) are below."""


def find_driver(roots: Roots | None = None) -> Driver:
    """The driver of this machine. Raises GpuError when there is none, or when the kernel module is of another version."""
    roots = roots or Roots.of_this_machine()
    module = module_version(roots)
    found = _find(roots, module)
    if found is None:
        where = "" if roots.driver == Path("/") else f" below `{roots.driver}`"
        raise GpuError(
            f"the driver's libcuda was not found{where}",
            hint="name its directory in LAUNCH_DRIVER_LIBRARIES, or install the driver",
        )
    if module is not None and module != found.version:
        raise GpuError(
            f"driver library {found.version} (`{found.directories[0]}`), kernel module {module}: they must be equal",
            hint="the driver was upgraded: reboot, or reload the nvidia modules; running jobs go on, new ones can't start",
        )
    return found


def _find(roots: Roots, module: str | None) -> Driver | None:
    for directories in _places(roots):
        found = [(version, directory) for directory in directories for version in _versions(directory)]
        if not found:
            continue
        # Of several versions that lie about, the module's is meant, or else what a loader would take.
        linked = [one for one in found if _linked_version(one[1]) == one[0]]
        version = next(iter([one for one, _ in found if one == module] or [one for one, _ in linked or found]))
        places = dict.fromkeys(place for one, place in found if one == version)
        return Driver(version, tuple(dict.fromkeys((*places, *_beside(places)))), roots.driver)
    return None


def _beside(places: Iterable[Path]) -> Iterator[Path]:
    """Debian keeps what several drivers may be installed of in `nvidia/current`, and what only one has (libnvidia-glcore,
    -eglcore, -glsi, -tls, -rtcore, -gpucomp, …) two directories above (its packages of 550.163.01, `dpkg -c`)."""
    of_debian = (place for place in places if place.parent.name == "nvidia" and not place.name.startswith("lib"))
    return (place.parent.parent for place in of_debian)


def _places(roots: Roots) -> Iterator[list[Path]]:
    """Directories in the order of trust; the next ones are looked at only when these have no driver."""
    named = os.environ.get("LAUNCH_DRIVER_LIBRARIES")
    if named:
        yield [Path(one) for one in named.split(":") if one]
        return
    if roots.driver == Path("/"):
        yield _loader_directories()
    yield [roots.driver / directory for directory in _SEARCH]
    yield list(dict.fromkeys(_cache_directories(roots.driver)))
    yield [(roots.driver / _OF_NIXOS).resolve().parent]


def _versions(directory: Path) -> list[str]:
    """Versions of the driver's libraries in *directory*."""
    for stem in _WANTED:
        versions = [path.name.removeprefix(f"{stem}.") for path in sorted(directory.glob(f"{stem}.*.*"), reverse=True)]
        if versions:
            return versions
    return []


def _linked_version(directory: Path) -> str | None:
    """The version that the loader's name for libcuda leads to in *directory*."""
    for stem in _WANTED:
        with contextlib.suppress(OSError):
            return (directory / f"{stem}.1").resolve(strict=True).name.removeprefix(f"{stem}.")
    return None


def _cache_directories(root: Path) -> Iterator[Path]:
    try:
        cached = read_cache((root / "etc/ld.so.cache").read_bytes())
    except (OSError, BadContent):
        return
    for one in cached:
        if one.name in (f"{stem}.1" for stem in _WANTED):
            yield (root / one.path.lstrip("/")).parent


def _loader_directories() -> list[Path]:
    """Directories that this process's loader takes the driver's libraries from; asked in a child, which ends with them."""
    asked = ask(_load_and_tell)
    listen([asked], patience_s=_PATIENCE_S)
    return [Path(message["directory"]) for message in asked.messages]


def _load_and_tell(tell: Tell) -> None:
    from runtime.kernel.libc import load_library

    for stem in _WANTED:
        with contextlib.suppress(OSError):
            load_library(f"{stem}.1")
    with open("/proc/self/maps", "rb") as maps:
        files = {os.fsdecode(line.split(maxsplit=5)[5].rstrip(b"\n")) for line in maps if line.count(b"/")}
    # libcuda first: its directory is the driver's, should NVML come from elsewhere.
    found = [file for stem in _WANTED for file in sorted(files) if os.path.basename(file).startswith(f"{stem}.")]
    for directory in dict.fromkeys(map(os.path.dirname, found)):
        tell({"directory": directory})
