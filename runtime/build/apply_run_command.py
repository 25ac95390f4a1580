"""Apply a RunCommand step: run it in a container on the layers below; what it changed is the layer.

The environment holds what makes tools repeatable (SOURCE_DATE_EPOCH makes Python write hash-checked bytecode, a fixed hash seed
orders sets) and nothing of the caller's.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from runtime.build.cache_key import chain, key_fields, step_key
from runtime.build.observer import BuildObserver
from runtime.build.plan import LAYER_MTIME_S, RunCommand
from runtime.build.step_label import step_label
from runtime.container.run_once import run_to_completion
from runtime.container.spec import ContainerSpec
from runtime.errors import BuildError
from runtime.kernel.id_maps import IdMapKind
from runtime.layer.diff import diff
from runtime.layer.tree import Tree
from runtime.network.mode import NetworkMode
from runtime.rootfs.wanted import BindMount, TmpfsFile
from runtime.store.records import Layer
from runtime.store.store import Store

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "DEBIAN_FRONTEND": "noninteractive",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": str(LAYER_MTIME_S),
}


def apply_run_command(
    step: RunCommand,
    *,
    store: Store,
    below: Sequence[Layer],
    observer: BuildObserver,
    files: tuple[TmpfsFile, ...] = (),
) -> Layer:
    """The layer of *step* on the layers *below*, bottom first. Raises BuildError with the end of its output when it fails.

    *files* are seen by the command and are no part of the layer.
    """
    parent = chain(below)
    label = step_label(step)
    with store.staging() as staging:
        upper = run_on_layers(step, staging=staging, store=store, below=below, observer=observer, files=files)
        tree = with_owners(diff(upper, drop=step.drop), {path: (uid, gid) for path, uid, gid in step.owners})
        return store.publish(step_key(step, parent), upper, tree, label=label, fields=key_fields(step, parent))


def run_on_layers(
    step: RunCommand,
    *,
    staging: Path,
    store: Store,
    below: Sequence[Layer],
    observer: BuildObserver,
    binds: tuple[BindMount, ...] = (),
    files: tuple[TmpfsFile, ...] = (),
) -> Path:
    """Run the command of *step* on *below* with an overlay in *staging*; the directory that holds what it changed."""
    label = step_label(step)
    overlay = staging / "overlay"
    overlay.mkdir(mode=0o700)
    spec = ContainerSpec(
        container_id=f"build-{secrets.token_hex(4)}",
        layers=tuple(store.layer_dir(layer) for layer in below),
        overlay_dir=overlay,
        argv=step.argv,
        env=ENVIRONMENT | dict(step.env),
        hostname="build",
        network=_network(step.network),
        binds=binds,
        tmpfs_files=files,
        build=True,
    )
    lines = _Lines(step, observer)
    # As an ordinary user always with one id, also where newuidmap would give more: everything on disk has to be the caller's,
    # who could neither publish nor remove a file of a subordinate id.
    kinds = tuple(IdMapKind) if os.geteuid() == 0 else (IdMapKind.SINGLE,)
    ended, tail = run_to_completion(spec, output=lines.feed, kinds=kinds)
    lines.end()
    if ended.shell_code != 0:
        raise BuildError(
            f"`{label}` exited with {ended.shell_code}:\n{_indented(tail)}", hint=_hint(step, tail.decode(errors="replace"))
        )
    return overlay / "u"


def with_owners(tree: Tree, owners: Mapping[str, tuple[int, int]]) -> Tree:
    """*tree* with the owners that its paths are known to have, where a single-id build could not set them."""
    if not owners:
        return tree
    return Tree(
        tuple(
            replace(entry, uid=owners[entry.path][0], gid=owners[entry.path][1])
            if entry.path in owners and entry.type != "whiteout"
            else entry
            for entry in tree
        )
    )


def _network(mode: str) -> NetworkMode:
    for known in get_args(NetworkMode):
        if mode == known:
            return mode  # type: ignore[return-value]
    raise BuildError(f"a build step cannot have network `{mode}`", hint=f"one of {', '.join(get_args(NetworkMode))}")


def _indented(output: bytes) -> str:
    lines = output.decode(errors="replace").rstrip().splitlines()[-20:]
    return "\n".join(f"    {line}" for line in lines) or "    (it printed nothing)"


def _hint(step: RunCommand, output: str) -> str | None:
    if step.network == "none" and any(
        sign in output for sign in ("resolve host", "resolution", "Name or service", "unreachable")
    ):
        return "build steps run without a network; packages belong in `image.apt`, wheels in `image.requirements`"
    return None


class _Lines:
    """Output in pieces, told to the observer in lines."""

    def __init__(self, step: RunCommand, observer: BuildObserver) -> None:
        self._step = step
        self._observer = observer
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._observer.output(self._step, line.decode(errors="replace").rstrip("\r"))

    def end(self) -> None:
        if self._rest:
            self.feed(b"\n")
