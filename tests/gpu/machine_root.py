"""A root file system out of the machine's own files, bound read-only: for containers on a machine without a network."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from runtime.container.device_edits import apply_edits
from runtime.container.lifecycle import remove_overlay
from runtime.container.run_once import run_to_completion
from runtime.container.spec import ContainerSpec
from runtime.gpu.gpu import Gpu
from runtime.gpu.inject import injection
from runtime.rootfs.mount_spec import BindMount

_LINKS = ("bin", "lib", "lib64", "sbin")


def machine_layer(directory: Path) -> Path:
    """A skeleton: /usr is a directory of links to what is bound, so that /usr/local/nvidia can be made in it."""
    layer = directory / "layer"
    for name in ("etc", "tmp", "proc", "sys", "dev", "run", "usr/local"):
        (layer / name).mkdir(parents=True)
    for name in _LINKS:
        (layer / name).symlink_to(f"usr/{name}")
        (layer / "usr" / name).symlink_to(f"/host/usr/{name}")
    for name in ("share", "include"):
        (layer / "usr" / name).symlink_to(f"/host/usr/{name}")
    for path in sorted(Path("/usr/local").iterdir()):
        if path.name != "nvidia":
            (layer / "usr/local" / path.name).symlink_to(f"/host/usr/local/{path.name}")
    if Path("/etc/ld.so.cache").exists():
        shutil.copy("/etc/ld.so.cache", layer / "etc/ld.so.cache")
    return layer


def machine_binds() -> tuple[BindMount, ...]:
    places = [Path("/usr")]
    for extra in (Path("/opt"), Path(sys.base_prefix), Path(sys.prefix)):
        if extra.is_dir() and not any(extra.is_relative_to(place) for place in places):
            places.append(extra)
    return tuple(
        BindMount(place, "/host/usr" if place == Path("/usr") else str(place), owner_is_caller=False) for place in places
    )


def run_on(directory: Path, gpus: tuple[Gpu, ...], code: str, *, leased: bool = True, **changes: Any) -> tuple[int | None, str]:
    """(exit code, output) of this interpreter running *code* in a container, with *gpus* if *leased*."""
    directory.chmod(0o755)
    layer = directory / "layer"
    if not layer.exists():
        machine_layer(directory)
    options = {name: changes.pop(name) for name in ("kinds", "strategies") if name in changes}
    fields: dict[str, Any] = {
        "container_id": f"gpu-{directory.name}"[:60],
        "layers": (layer,),
        "overlay_dir": directory / "overlay",
        "argv": (sys.executable, "-c", code),
        "env": {"PATH": "/usr/bin:/usr/sbin:/usr/local/bin", "HOME": "/tmp", "PYTHONPATH": ":".join(sys.path)},
        "binds": machine_binds(),
        **changes,
    }
    spec = ContainerSpec(**fields)
    if leased:
        spec = apply_edits(spec, injection(gpus, [str(gpu.uuid) for gpu in gpus]))
    try:
        ended, output = run_to_completion(spec, timeout_s=300, **options)
    finally:
        remove_overlay(spec.overlay_dir)
    return ended.code, output.decode(errors="replace")
