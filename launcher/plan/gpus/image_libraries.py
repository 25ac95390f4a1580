"""What an image's own files mean for the driver's libraries that a container gets beside them.

A driver's library may need a newer glibc than the image has, and an image may have a libcuda of its own where its loader looks
first. Both fail inside with words that lead nowhere (`GLIBC_2.34 not found`, error 803), so they are told when the run starts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.container.spec import ContainerSpec
from runtime.gpu.edits import Edits
from runtime.gpu.nvidia.driver_files import libraries_in
from runtime.kernel.safe_open import open_in_root

_LIBC_PLACES = (
    *(f"{above}/{machine}-linux-gnu" for machine in ("x86_64", "aarch64") for above in ("lib", "usr/lib")),
    *("lib64", "usr/lib64", "lib", "usr/lib"),
)
_RELEASE = re.compile(rb"GNU C Library [^\n]*release version (\d+)\.(\d+)")
_DRIVERS_OWN = ("libcuda.so.1", "libnvidia-ml.so.1")


def image_notes(container: ContainerSpec, edits: Edits) -> tuple[str, ...]:
    """What of *edits* will not work with the files of *container*'s image."""
    return (*_newer_glibc(container.layers, edits), *_hidden_libcudas(container, edits))


def directory_in(layers: Sequence[Path], path: str) -> Path | None:
    """The directory *path* of the topmost layer that has it. Links are followed inside their layer only."""
    return next((found for layer in reversed(layers) if (found := _inside(layer, path)) is not None and found.is_dir()), None)


def _inside(layer: Path, path: str) -> Path | None:
    """What *path* leads to in *layer*, links followed by the kernel as if the layer were `/`; None when it leads nowhere."""
    root = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = open_in_root(root, path.strip("/"))
    except OSError:
        return None
    finally:
        os.close(root)
    try:
        return Path(os.readlink(f"/proc/self/fd/{found}"))
    finally:
        os.close(found)


def _newer_glibc(layers: Sequence[Path], edits: Edits) -> Iterator[str]:
    from runtime.build.wheels.system_libraries import needed_glibc

    has = glibc_of_image(layers)
    if has is None:
        yield from _other_c_library(layers, edits)
        return
    needed = [(needed_glibc(path), path) for path in libraries_in(edits.mounts)]
    newer = sorted((version, path) for version, path in needed if version > has)
    if newer:
        (major, minor), path = newer[-1]
        yield (
            f"the driver's `{path.name}` needs glibc {major}.{minor}, the image has {has[0]}.{has[1]}: "
            f"{len(newer)} of the driver's libraries won't load there"
        )


def _other_c_library(layers: Sequence[Path], edits: Edits) -> Iterator[str]:
    machine = os.uname().machine
    if edits.library_dirs and any(_inside(layer, f"lib/ld-musl-{machine}.so.1") is not None for layer in layers):
        yield (
            "the image's C library is musl (Alpine), and the driver's libraries are made for glibc: CUDA can't be loaded there; "
            "take an image of Debian, Ubuntu or Red Hat's kind"
        )


def glibc_of_image(layers: Sequence[Path]) -> tuple[int, int] | None:
    """The release of the image's glibc, as its libc.so.6 says; None for another C library."""
    for layer in reversed(layers):
        for place in _LIBC_PLACES:
            path = _inside(layer, f"{place}/libc.so.6")
            if path is not None and path.is_file():
                found = _RELEASE.search(path.read_bytes())
                return (int(found[1]), int(found[2])) if found else None
    return None


def _hidden_libcudas(container: ContainerSpec, edits: Edits) -> Iterator[str]:
    """A libcuda of the image that comes before the driver's on the library path."""
    for directory in container.env.get("LD_LIBRARY_PATH", "").split(":"):
        if not directory or directory in edits.library_dirs or not edits.library_dirs:
            continue
        place = directory_in(container.layers, directory)
        for name in _DRIVERS_OWN:
            if place is not None and os.path.lexists(place / name):
                yield (
                    f"the image's own `{directory}/{name}` is found before the driver's (LD_LIBRARY_PATH): "
                    "if CUDA fails with error 803, take that directory out of `image.env.LD_LIBRARY_PATH`"
                )
