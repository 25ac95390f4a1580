"""Unpack more .debs onto a base, by the base's own dpkg in a container: `apt` of an experiment.

Unlike the first packages of a base, these may need what only dpkg does: preinst scripts, diversions, files that replace
another package's. Configuring them is the next step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runtime.build.apply_run_command import run_on_layers
from runtime.build.changed_tree import changed_tree
from runtime.build.debian.archive_client import ArchiveClient
from runtime.build.debian.deb_file import read_deb, stored_deb
from runtime.build.debian.debian_base import CONFIGURE_ENV, DROPPED
from runtime.build.debian.fetch import for_each_deb
from runtime.build.observer import BuildObserver
from runtime.build.plan import DebPackage, RunCommand, UnpackDebs
from runtime.build.run_mounts import RunMounts
from runtime.build.sources import DebianSource
from runtime.build.step_label import counted
from runtime.layer.tree import Tree
from runtime.rootfs.wanted import BindMount
from runtime.store.records import Layer
from runtime.store.store import Store

_MOUNTED_AT = "/run/launch-debs"


def unpack_onto(
    step: UnpackDebs,
    *,
    staging: Path,
    store: Store,
    source: DebianSource,
    below: Sequence[Layer],
    client: ArchiveClient,
    observer: BuildObserver,
) -> tuple[Path, Tree]:
    """The directory and the tree of what dpkg changed on the layers *below*."""
    debs = staging / "debs"
    debs.mkdir(mode=0o755)
    _prepare(step.packages, debs, store=store, source=source, client=client, observer=observer)
    command = RunCommand(
        # --force-depends: a pre-dependency may be in the same set, unpacked and not yet configured (apt would order them).
        argv=("dpkg", "--unpack", "--force-depends", "--recursive", _MOUNTED_AT),
        env=CONFIGURE_ENV,
        label=f"dpkg --unpack ({counted(len(step.packages), 'package')})",
        drop=DROPPED,
    )
    mounts = RunMounts(binds=[BindMount(debs, _MOUNTED_AT)])
    upper = run_on_layers(command, staging=staging, store=store, below=below, observer=observer, mounts=mounts)
    return upper, changed_tree(upper, command, [store.layer_dir(layer) for layer in below])


def _prepare(
    packages: Sequence[DebPackage],
    debs: Path,
    *,
    store: Store,
    source: DebianSource,
    client: ArchiveClient,
    observer: BuildObserver,
) -> None:
    """Lay the checked .debs into *debs*, already decompressed: dpkg alone would do that one after the other."""

    def prepare(package: DebPackage, content: bytes) -> None:
        deb = read_deb(content, name=package.name)
        with open(debs / f"{package.name}_{package.architecture}.deb", "xb") as file:
            file.writelines(stored_deb(deb))

    for_each_deb(packages, prepare, store=store, source=source, client=client, observer=observer)
