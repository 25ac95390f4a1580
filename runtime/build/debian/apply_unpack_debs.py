"""Apply an UnpackDebs step: locked .debs become a layer with files and dpkg's database, to be configured by CONFIGURE.

A base is written by us (`unpack.py`). Packages that come onto a base (`apt` of an experiment) are unpacked by the base's own dpkg
in a container: there preinst scripts, diversions and files that replace another package's count.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from runtime.build.cache_key import chain, key_fields, step_key
from runtime.build.debian.archive_client import archive_client
from runtime.build.debian.deb_file import read_deb, stored_deb
from runtime.build.debian.debian_base import CONFIGURE_ENV, DROPPED
from runtime.build.debian.dpkg_database import UnpackedPackage, conffile_hashes, read_control, write_database
from runtime.build.debian.locked_debs import LockedDebs
from runtime.build.debian.root_skeleton import write_links, write_skeleton
from runtime.build.debian.unpack import RootWriter, unpack_data
from runtime.build.observer import BuildObserver
from runtime.build.plan import DebPackage, RunCommand, UnpackDebs
from runtime.build.run.apply_run_command import run_on_layers
from runtime.build.run.changed_tree import changed_tree
from runtime.build.run.run_mounts import RunMounts
from runtime.build.sources import DebianSource
from runtime.build.step_label import step_label
from runtime.errors import BadContent, BuildError
from runtime.layer.tree import Tree
from runtime.plurals import counted
from runtime.rootfs.mount_spec import BindMount
from runtime.store.records import Layer
from runtime.store.store import Store

_MASTER_FILES = "usr/share/base-passwd"
_MOUNTED_AT = "/run/launch-debs"


def apply_unpack_debs(
    step: UnpackDebs, *, store: Store, source: DebianSource, below: Sequence[Layer], observer: BuildObserver
) -> Layer:
    """The layer of *step*; *below* are the layers under it, bottom first (none for a base)."""
    debs = LockedDebs(store, source, client=archive_client(), observer=observer)
    parent = chain(below) if step.onto_base else None
    with store.container_staging() as staging:
        if step.onto_base:
            root, tree = _unpack_onto(step, debs, staging=staging, store=store, below=below, observer=observer)
        else:
            root = staging / "root"
            root.mkdir()
            writer = RootWriter(root)
            _unpack_base(step.packages, writer, debs)
            tree = Tree.of(writer.entries())
        return store.publish(step_key(step, parent), root, tree, label=step_label(step), fields=key_fields(step, parent))


def _unpack_base(packages: Sequence[DebPackage], writer: RootWriter, debs: LockedDebs) -> None:
    """Unpack *packages* into a new root, each as soon as its .deb is there, and write dpkg's database."""
    architecture = next((one.architecture for one in packages if one.architecture != "all"), "amd64")
    write_links(writer, architecture=architecture)
    unpacked: list[UnpackedPackage] = []
    masters: dict[str, bytes] = {}
    lock = threading.Lock()

    def unpack_one(package: DebPackage, content: bytes) -> None:
        deb = read_deb(content, name=package.name)
        fields, control_files = read_control(deb.control, package=package.name)
        if fields.get("Version") != package.version:
            raise BadContent(f"the .deb of `{package.name}` is version `{fields.get('Version')}`, not `{package.version}`")
        hashes = conffile_hashes(control_files, deb.data, package=package.name)
        shipped = unpack_data(writer, deb.data, package=package.name)
        with lock:
            unpacked.append(UnpackedPackage(package.name, fields, control_files, shipped, hashes))

    debs.for_each(packages, unpack_one)
    for name in ("passwd", "group"):
        path = writer.root / _MASTER_FILES / f"{name}.master"
        if not writer.has(f"{_MASTER_FILES}/{name}.master"):
            raise BuildError("the base has no package `base-passwd`", hint="a base is made of Debian's essential packages")
        masters[name] = path.read_bytes()
    write_database(writer, unpacked)
    write_skeleton(writer, passwd=masters["passwd"], group=masters["group"])


def _unpack_onto(
    step: UnpackDebs, debs: LockedDebs, *, staging: Path, store: Store, below: Sequence[Layer], observer: BuildObserver
) -> tuple[Path, Tree]:
    """The directory and the tree of what dpkg changed on the layers *below*."""
    directory = staging / "debs"
    directory.mkdir(mode=0o755)

    def lay_down(package: DebPackage, content: bytes) -> None:
        # Already decompressed: dpkg alone would do that one after the other.
        with open(directory / f"{package.name}_{package.architecture}.deb", "xb") as file:
            file.writelines(stored_deb(read_deb(content, name=package.name)))

    debs.for_each(step.packages, lay_down)
    command = RunCommand(
        # --force-depends: a pre-dependency may be in the same set, unpacked and not yet configured (apt would order them).
        argv=("dpkg", "--unpack", "--force-depends", "--recursive", _MOUNTED_AT),
        env=CONFIGURE_ENV,
        label=f"dpkg --unpack ({counted(len(step.packages), 'package')})",
        drop=DROPPED,
    )
    mounts = RunMounts(binds=[BindMount(directory, _MOUNTED_AT)])
    upper = run_on_layers(command, staging=staging, store=store, below=below, observer=observer, mounts=mounts, part_of=step)
    return upper, changed_tree(upper, command, [store.layer_dir(layer) for layer in below])
