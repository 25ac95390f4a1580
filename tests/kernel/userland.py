"""Containers for tests: a layer of empty directories, the host's /usr read-only, and this interpreter.

`inside` runs a few lines of Python in such a container and returns what they assigned to `answer`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from runtime.container.lifecycle import remove_overlay
from runtime.container.run_once import run_to_completion
from runtime.container.spec import ContainerSpec, ProcessExit
from runtime.rootfs.mount_spec import BindMount

PYTHON = os.path.realpath(sys.executable)
_PREFIX = Path(sys.base_prefix).resolve()


def base_layer(directory: Path) -> Path:
    """A merged-/usr skeleton in *directory*; `userland` fills it."""
    for name in ("etc", "tmp", "proc", "sys", "dev", "usr/local", "run"):
        (directory / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (directory / name).symlink_to(f"usr/{name}")
        (directory / "usr" / name).symlink_to(f"/host/usr/{name}")
    (directory / "tmp").chmod(0o1777)
    return directory


def userland() -> tuple[BindMount, ...]:
    """The host's programs, and the interpreter where it does not lie in /usr."""
    usr = BindMount(Path("/usr"), "/host/usr", owner_is_caller=False)
    return (usr,) if _PREFIX.is_relative_to("/usr") else (usr, BindMount(_PREFIX, str(_PREFIX), owner_is_caller=False))


def make_spec(directory: Path, *argv: str, container_id: str = "", **changes: Any) -> ContainerSpec:
    """A container below *directory* that runs *argv*; *changes* are fields of ContainerSpec."""
    directory.chmod(0o755)
    layer = directory / "layer"
    if not layer.exists():
        base_layer(layer)
    fields: dict[str, Any] = {
        "layers": (layer,),
        "overlay_dir": directory / "overlay",
        "env": {"PATH": "/usr/bin:/usr/sbin", "HOME": "/home/user"},
        **changes,
    }
    fields["binds"] = (*userland(), *fields.get("binds", ()))
    # Ids are told apart on the whole machine (cgroups), and tests run beside others.
    return ContainerSpec(container_id=container_id or f"test-{os.getpid()}-{directory.name}"[:60], argv=argv, **fields)


def python_spec(directory: Path, code: str, **changes: Any) -> ContainerSpec:
    return make_spec(directory, PYTHON, "-I", "-c", code, **changes)


def run(spec: ContainerSpec, **options: Any) -> tuple[ProcessExit, str]:
    """Run to the end, give back the end and the output, remove the overlay."""
    try:
        ended, output = run_to_completion(spec, **options)
    finally:
        remove_overlay(spec.overlay_dir)
    return ended, output.decode()


def inside(directory: Path, code: str, **changes: Any) -> Any:
    """What *code* assigns to `answer` in a container with *changes*."""
    options = {name: changes.pop(name) for name in ("kinds", "strategies") if name in changes}
    script = f"import json, os, sys\n{code}\nprint(json.dumps(answer))"
    ended, output = run(python_spec(directory, script, **changes), timeout_s=60, **options)
    assert ProcessExit(0, None) == ended, output
    return json.loads(output.splitlines()[-1])
