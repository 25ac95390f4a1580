"""The driver's user-space files on this host, gathered once a driver version into one directory that containers get read-only.

Every `lib*.so.<version>` beside libcuda but what only a display needs; never GLVND's dispatch libraries (an older image's glibc
cannot load the host's). SONAME links are made here: on a read-only directory ldconfig makes none and says 0.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from runtime.errors import GpuError
from runtime.file_lock import locked
from runtime.gpu.device_nodes import driver_version
from runtime.gpu.elf_soname import read_soname

_SEARCH = (
    "usr/local/nvidia/lib64",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/nvidia/current",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib/aarch64-linux-gnu/nvidia/current",
    "usr/lib64",
    "usr/lib64/nvidia",
    "usr/lib",
)
_DISPLAY_ONLY = re.compile(
    r"^(nvidia_drv|libglxserver|libnvidia-(gtk|wayland|egl)|libGL|libEGL|libGLES|libnvidia-(glcore|eglcore|glsi|tls|rtcore|glvkspirv|fbc|ifr|cbl))"
)
_PROGRAMS = ("nvidia-smi", "nvidia-debugdump", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server")


def library_directory(root: Path = Path("/")) -> tuple[Path, str]:
    """The directory of libcuda and the version of its file. Raises GpuError when there is none."""
    named = os.environ.get("LAUNCH_DRIVER_LIBRARIES")
    directories = [Path(named)] if named else [root / directory for directory in _SEARCH]
    for directory in directories:
        for stem in ("libcuda.so.", "libnvidia-ml.so."):
            versions = [path.name.removeprefix(stem) for path in sorted(directory.glob(f"{stem}*.*"))]
            if versions:
                return directory, versions[-1]
    raise GpuError("the driver's libcuda was not found", hint="name its directory in LAUNCH_DRIVER_LIBRARIES")


def gather(cache: Path, root: Path = Path("/")) -> Path:
    """A directory with `lib64/` and `bin/` of the driver, below *cache*; made once a version and kept.

    Raises GpuError when library and kernel module differ: nothing started now could use the GPU.
    """
    directory, version = library_directory(root)
    module = driver_version(root)
    if module is not None and module != version:
        raise GpuError(
            f"driver library {version}, kernel module {module}: they must be equal",
            hint="reboot, or reload the nvidia modules; running jobs go on",
        )
    target = cache / "driver" / version
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.parent / ".lock"):
        if not target.is_dir():
            partial = target.parent / f".{version}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            _copy_files(directory, version, partial, root)
            partial.rename(target)
    return target


def _copy_files(directory: Path, version: str, target: Path, root: Path) -> None:
    libraries, programs = target / "lib64", target / "bin"
    libraries.mkdir(parents=True)
    programs.mkdir()
    for source in sorted(directory.glob(f"lib*.so.{version}")):
        if _DISPLAY_ONLY.match(source.name):
            continue
        shutil.copyfile(source, libraries / source.name)
        (libraries / source.name).chmod(0o755)
        soname = read_soname(source)
        if soname and soname != source.name and not (libraries / soname).exists():
            (libraries / soname).symlink_to(source.name)
    if (libraries / "libcuda.so.1").exists():
        (libraries / "libcuda.so").symlink_to("libcuda.so.1")
    for name in _PROGRAMS:
        found = next(
            (root / place / name for place in ("usr/bin", "usr/local/nvidia/bin") if (root / place / name).is_file()), None
        )
        if found is not None:
            shutil.copyfile(found, programs / name)
            (programs / name).chmod(0o755)
