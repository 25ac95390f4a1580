"""What a RUN step sees beside its layers and what is never part of one: `--mount` of bind, cache, secret and tmpfs.

Files of the context are copied, each checked, so that neither a later change nor what `.dockerignore` leaves out is seen; another
stage is an overlay of its layers. Writes to either are thrown away. A cache is a directory on this machine that outlives the
build. A secret is in memory only: in a file that no disk has, or in the command's environment.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from runtime.build.copy.copy_placement import Placement
from runtime.build.copy.copy_sources import context_sources, stage_sources
from runtime.build.copy.layer_writer import write_content
from runtime.build.layers_below import LayersBelow, StageLayers
from runtime.build.plan import ContextFiles, RunMount, StageFiles
from runtime.build.sources import BuildSources
from runtime.errors import BuildError
from runtime.file_lock import LockBusy, open_locked
from runtime.kernel.safe_open import make_directories
from runtime.layer.tree import Tree, printable
from runtime.light_dataclasses import dataclass, field
from runtime.rootfs.mount_spec import BindMount, LayersMount, TmpfsFile, TmpfsMount
from runtime.rootfs.overlay import make_writable_directories
from runtime.store.layer_files import settle
from runtime.store.merged_tree import merged_tree
from runtime.store.store import Store
from runtime.whole_file import new_directory

_TMPFS_MODE = 0o1777
_SHORTEST_HIDDEN = 4
"""A shorter secret would blacken half of the output, and is none."""


@dataclass(slots=True)
class RunMounts:
    """The mounts of one command, as a container takes them."""

    binds: list[BindMount] = field(default_factory=list)
    layers: list[LayersMount] = field(default_factory=list)
    tmpfs: list[TmpfsMount] = field(default_factory=list)
    files: list[TmpfsFile] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict, repr=False)
    shm_bytes: int | None = None
    """Size of /dev/shm, which every container has; None: the usual one."""
    hidden: list[bytes] = field(default_factory=list, repr=False)
    """Contents of secrets: nothing that is told may show them."""

    def without_secrets(self, output: bytes) -> bytes:
        """*output* with `***` in the place of every secret."""
        for secret in self.hidden:
            output = output.replace(secret, b"***")
        return output


def prepare_mounts(
    mounts: Sequence[RunMount], *, scratch: Path, store: Store, stage_layers: StageLayers, sources: BuildSources, held: ExitStack
) -> RunMounts:
    """Make ready what *mounts* show, below the directory *scratch*. Locks of caches are in *held*.

    Raises BuildError when a secret that has to be there isn't, or when a file of the context has changed.
    """
    prepared = RunMounts()
    # Always in one order: two commands with the same two locked caches must not wait for each other.
    for number, mount in enumerate(sorted(mounts, key=lambda mount: mount.cache_id)):
        place = scratch / f"mount-{number}"
        match mount.kind:
            case "bind" if mount.stage is not None:
                prepared.layers.append(_stage_mount(mount, mount.stage, place, store, stage_layers))
            case "bind":
                prepared.binds.append(_context_mount(mount, place))
            case "cache":
                directory = _cache(mount, place, store, stage_layers, sources.cache_mounts, held)
                prepared.binds.append(BindMount(directory, mount.target, readonly=mount.readonly, owner_is_caller=False))
            case "secret":
                _add_secret(mount, prepared, sources)
            case "tmpfs" if os.path.normpath(mount.target) == "/dev/shm":
                prepared.shm_bytes = mount.size_bytes
            case "tmpfs":
                prepared.tmpfs.append(TmpfsMount(mount.target, mount.size_bytes, _TMPFS_MODE))
    _make_points_in_caches(prepared)
    return prepared


def _make_points_in_caches(prepared: RunMounts) -> None:
    """Make the places of mounts inside of caches (`/root/.cache/pip` in `/root/.cache`), owned as the cache is: in the container
    nobody can make a directory in it who has no id there."""
    targets = [bind.target for bind in prepared.binds]
    targets += [mount.target for mount in prepared.layers]
    targets += [mount.target for mount in prepared.tmpfs]
    for outer in (bind for bind in prepared.binds if not bind.owner_is_caller):
        cache = os.open(outer.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = os.fstat(cache)
            owner = (found.st_uid, found.st_gid) if os.geteuid() == 0 else None
            for target in targets:
                if target.startswith(f"{outer.target.rstrip('/')}/"):
                    os.close(make_directories(cache, os.path.relpath(target, outer.target), owner=owner)[0])
        except OSError as error:
            raise BuildError(f"no mount point can be made in the cache at `{outer.target}`: {error.strerror}") from error
        finally:
            os.close(cache)


def _stage_mount(mount: RunMount, stage: int, place: Path, store: Store, stage_layers: StageLayers) -> LayersMount:
    place.mkdir(mode=0o755)
    make_writable_directories(place)
    layers = tuple(store.layer_dir(layer) for layer in stage_layers(stage))
    return LayersMount(layers, place, mount.target, mount.source, mount.readonly)


def _context_mount(mount: RunMount, place: Path) -> BindMount:
    placement = Placement(LayersBelow([]))
    files = tuple((path, path, mode, sha256) for path, mode, sha256 in mount.files)
    placement.copy(context_sources(ContextFiles(mount.context, files, single=False)), "/")
    place.mkdir(mode=0o755)
    _fill(place, placement)
    inside = _below(place, mount)
    if not inside.exists():
        raise BuildError(f"the context has no `{printable(mount.source)}`, which is to be mounted at `{mount.target}`")
    return BindMount(inside, mount.target, readonly=mount.readonly)


def _fill(directory: Path, placement: Placement) -> None:
    written = write_content(placement.tree(), placement.contents, directory)
    settle(directory, Tree(tuple(entry for entry, _ in written)), files_are_settled=True)


def _below(place: Path, mount: RunMount) -> Path:
    """The source below *place*, which it must not leave."""
    inside = Path(os.path.realpath(place / mount.source.strip("/")))
    if not inside.is_relative_to(os.path.realpath(place)):
        raise BuildError(f"`{printable(mount.source)}`, which is to be mounted at `{mount.target}`, leads out of the context")
    return inside


def _cache(
    mount: RunMount,
    place: Path,
    store: Store,
    stage_layers: StageLayers,
    caches: Path | None,
    held: ExitStack,
) -> Path:
    """The directory of a cache, locked as its sharing says for as long as *held* is."""
    if caches is None:
        directory = place
    else:
        caches.mkdir(mode=0o700, parents=True, exist_ok=True)
        # By its id, and by what it begins with: caches of other origins would fill each other.
        origin = f"{mount.cache_id or mount.target}\0{mount.stage}\0{mount.source}" if mount.stage is not None else mount.cache_id
        directory = _locked_directory(caches, hashlib.sha256((origin or mount.target).encode()).hexdigest()[:32], mount, held)
    if not directory.exists():
        _fill_cache(mount, directory, store, stage_layers)
    return directory


def _locked_directory(caches: Path, name: str, mount: RunMount, held: ExitStack) -> Path:
    if mount.sharing == "private":
        number = 0
        while True:
            try:
                held.callback(os.close, _touch(open_locked(caches / f"{name}.{number}.lock", wait=False)))
                return caches / f"{name}.{number}"
            except LockBusy:
                number += 1
    held.callback(os.close, _touch(open_locked(caches / f"{name}.lock", shared=mount.sharing == "shared")))
    return caches / name


def _touch(lock: int) -> int:
    """Let the cache of *lock* be used now: `launch gc` takes what was not for a while."""
    os.utime(lock)
    return lock


def _fill_cache(mount: RunMount, directory: Path, store: Store, stage_layers: StageLayers) -> None:
    """A new cache: empty, or what the stage holds at the source. Made aside and named when it is whole."""
    with new_directory(directory) as new:
        if mount.stage is not None:
            layers = stage_layers(mount.stage)
            chosen = StageFiles(mount.stage, (mount.source or "/",))
            placement = Placement(LayersBelow([]))
            placement.copy(stage_sources(chosen, merged_tree(store, layers), [store.layer_dir(layer) for layer in layers]), "/")
            _fill(new, placement)
        if os.geteuid() == 0:
            os.chown(new, mount.uid, mount.gid)
        new.chmod(mount.mode)


def _add_secret(mount: RunMount, prepared: RunMounts, sources: BuildSources) -> None:
    content = sources.secrets.get(mount.source)
    if content is None:
        if mount.required:
            raise BuildError(
                f"the step needs the secret `{mount.source}`, and none is given",
                hint=f"`--secret id={mount.source},src=FILE` or `…,env=VARIABLE`",
            )
        return
    if mount.env:
        prepared.env[mount.env] = content.decode(errors="surrogateescape")
    if mount.target:
        prepared.files.append(TmpfsFile(mount.target, content, mount.mode, (mount.uid, mount.gid)))
    lines = {content, content.strip(), *content.split(b"\n")}
    prepared.hidden += sorted((line for line in lines if len(line) >= _SHORTEST_HIDDEN), key=len, reverse=True)
