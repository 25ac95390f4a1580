"""Unpack more .debs onto a base, by the base's own dpkg in a container: `apt` of an experiment.

Unlike the first packages of a base, these may need what only dpkg does: preinst scripts, diversions, files that replace
another package's. Configuring them is the next step. A build with a single id cannot set owners, so those of the .debs' own
headers are put into the tree.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtime.build.apply_run_command import run_on_layers, with_owners
from runtime.build.debian.archive_client import ArchiveClient
from runtime.build.debian.deb_file import read_deb, stored_deb, tar_members
from runtime.build.debian.debian_base import CONFIGURE_ENV, DROPPED
from runtime.build.debian.fetch import for_each_deb
from runtime.build.debian.unpack import merged
from runtime.build.observer import BuildObserver
from runtime.build.plan import DebPackage, RunCommand, UnpackDebs
from runtime.build.run_mounts import RunMounts
from runtime.build.sources import DebianSource
from runtime.build.step_label import counted
from runtime.layer.diff import diff
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
    owners = _prepare(step.packages, debs, store=store, source=source, client=client, observer=observer)
    command = RunCommand(
        # --force-depends: a pre-dependency may be in the same set, unpacked and not yet configured (apt would order them).
        argv=("dpkg", "--unpack", "--force-depends", "--recursive", _MOUNTED_AT),
        env=CONFIGURE_ENV,
        label=f"dpkg --unpack ({counted(len(step.packages), 'package')})",
        drop=DROPPED,
    )
    mounts = RunMounts(binds=[BindMount(debs, _MOUNTED_AT)])
    upper = run_on_layers(command, staging=staging, store=store, below=below, observer=observer, mounts=mounts)
    tree = diff(upper, drop=DROPPED)
    return upper, with_owners(tree, _by_number(owners, _groups(upper, store, below)))


def _prepare(
    packages: Sequence[DebPackage],
    debs: Path,
    *,
    store: Store,
    source: DebianSource,
    client: ArchiveClient,
    observer: BuildObserver,
) -> dict[str, tuple[int, int, str]]:
    """Lay the checked .debs into *debs*, already decompressed: dpkg alone would do that one after the other.

    Path → (uid, gid, name of the group) for what does not belong to root.
    """
    owners: dict[str, tuple[int, int, str]] = {}
    lock = threading.Lock()

    def prepare(package: DebPackage, content: bytes) -> None:
        deb = read_deb(content, name=package.name)
        with open(debs / f"{package.name}_{package.architecture}.deb", "xb") as file:
            file.writelines(stored_deb(deb))
        found = {
            merged(path): (member.uid, member.gid, member.gname)
            for member, path, _ in tar_members(deb.data, name=package.name)
            if member.uid or member.gid
        }
        with lock:
            owners.update(found)

    for_each_deb(packages, prepare, store=store, source=source, client=client, observer=observer)
    return owners


def _by_number(owners: Mapping[str, tuple[int, int, str]], groups: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """dpkg goes by the group's name where the system has it, else by its number."""
    return {path: (uid, groups.get(name, gid)) for path, (uid, gid, name) in owners.items()}


def _groups(upper: Path, store: Store, below: Sequence[Layer]) -> dict[str, int]:
    """`/etc/group` as the container saw it: a preinst may have added one."""
    for root in (upper, *(store.layer_dir(layer) for layer in reversed(below))):
        path = root / "etc/group"
        if path.is_file() and not path.is_symlink():
            lines = (line.split(":") for line in path.read_text(errors="replace").splitlines())
            return {words[0]: int(words[2]) for words in lines if len(words) > 2 and words[2].isdigit()}
    return {}
