"""Put the edits of devices into a ContainerSpec."""

from __future__ import annotations

from runtime.container.spec import ContainerSpec
from runtime.gpu.edits import Edits
from runtime.gpu.nvidia.proc_driver import PLACE, covered_files, is_nvidia, kept_directories
from runtime.gpu.roots import Roots
from runtime.light_dataclasses import replace
from runtime.rootfs.mount_spec import ProcCover


def apply_edits(
    container: ContainerSpec, edits: Edits, *, loader_first: tuple[str, ...] = (), roots: Roots | None = None
) -> ContainerSpec:
    """*container* with *edits*. *loader_first* are directories of the image that its loader has to look into before all others.

    Libraries of a driver come behind what the image's own library path names: it may bring one, and then it means it.
    """
    roots = roots or Roots.of_this_machine()
    env = container.env | {name: value for name, value in edits.env if name not in container.env or name in _NOT_THE_IMAGES}
    if edits.library_dirs or loader_first:
        env["LD_LIBRARY_PATH"] = _list(*loader_first, env.get("LD_LIBRARY_PATH", ""), *edits.library_dirs)
    return replace(
        container,
        env=env,
        devices=(*container.devices, *edits.nodes),
        host_files=(*container.host_files, *edits.mounts),
        links=(*container.links, *edits.links),
        loader_dirs=(*container.loader_dirs, *loader_first, *edits.library_dirs),
        proc_covers=(*container.proc_covers, *_driver_proc(edits, roots)),
        notes=(*container.notes, *edits.notes),
        host_groups=tuple(sorted({*container.host_groups, *edits.groups})),
    )


_NOT_THE_IMAGES = frozenset(("NVIDIA_VISIBLE_DEVICES",))
"""Images set `all` by default: the request is the experiment's, and what a toolkit inside must do is nothing."""


def _driver_proc(edits: Edits, roots: Roots) -> tuple[ProcCover, ...]:
    """NVIDIA's directory in /proc is covered whenever one of its nodes is there, wherever the edits come from."""
    if not any(is_nvidia(one) for one in edits.nodes):
        return ()
    files = covered_files(roots)
    return (ProcCover(PLACE, files, kept_directories(edits.nodes, roots)),) if files else ()


def _list(*parts: str) -> str:
    """Search paths joined, each directory once."""
    return ":".join(dict.fromkeys(directory for part in parts for directory in part.split(":") if directory))
