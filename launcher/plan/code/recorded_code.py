"""The code of a recorded run or image, for building with it again: its directory may have changed, or be on another machine.

Of a run it is in `code.tar`. Of an image, work trees go on, and the image has the code of its day in a layer. So a step that
copies files keeps its source while every file there has the recorded digest, and otherwise gets a directory in which the missing
ones are put together from the image by digest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from launcher.errors import LaunchError
from launcher.plan.launch_plan import LaunchPlan
from runtime.build.plan import LINK_MODE, BuildPlan, ContextFiles, CopyFiles, CopyIn, InstallTree, RunCommand, RunMount, Step
from runtime.errors import StoreError
from runtime.layer.extract import extract
from runtime.layer.tree import printable
from runtime.light_dataclasses import replace
from runtime.oci.digest import digest_file
from runtime.plurals import first_few
from runtime.store.records import Image
from runtime.store.store import Store
from runtime.whole_file import new_directory

File = tuple[str, int, str]
"""(relative path, mode, sha256 of the content or of the link's target; "" for a directory)"""


def with_recorded_code(build: BuildPlan, image: Image, store: Store, *, scratch: Path) -> tuple[BuildPlan, tuple[str, ...]]:
    """*build* with sources that have the recorded files, and what had to be taken from *image*, in words.

    *scratch* is a new directory for what is put together. Raises LaunchError when a file is nowhere any more.
    """
    sources = _Sources(image, store, scratch)
    steps = tuple(sources.step(step) for step in build.steps)
    stages = tuple(tuple(sources.step(step) for step in stage) for stage in build.stages)
    return replace(build, steps=steps, stages=stages), tuple(dict.fromkeys(sources.notes))


class _Sources:
    def __init__(self, image: Image, store: Store, scratch: Path) -> None:
        self._image = image
        self._store = store
        self._scratch = scratch
        self._known: dict[tuple[str, tuple[File, ...]], str] = {}
        self._contents: dict[str, Path] | None = None
        self.notes: list[str] = []

    def step(self, step: Step) -> Step:
        match step:
            case CopyIn() | InstallTree(git=""):
                return replace(step, source=self._source(step.source, step.files))
            case CopyFiles(source=ContextFiles() as chosen):
                files = [(path, mode, sha256) for path, _, mode, sha256 in chosen.files]
                return replace(step, source=replace(chosen, root=self._source(chosen.root, files)))
            case RunCommand() if any(mount.context for mount in step.mounts):
                return replace(step, mounts=tuple(self._mount(mount) for mount in step.mounts))
        return step

    def _mount(self, mount: RunMount) -> RunMount:
        return replace(mount, context=self._source(mount.context, mount.files)) if mount.context else mount

    def _source(self, root: str, files: Iterable[File]) -> str:
        wanted = tuple(dict.fromkeys(files))
        known = self._known.get((root, wanted))
        if known is not None:
            return known
        changed = [file for file in wanted if not _is_as_recorded(os.path.join(root, file[0]), file)]
        found = root if not changed else self._put_together(root, wanted, changed)
        self._known[root, wanted] = found
        return found

    def _put_together(self, root: str, files: Sequence[File], changed: Sequence[File]) -> str:
        target = self._scratch / f"code-{len(self._known)}"
        target.mkdir(mode=0o700, parents=True)
        missing = set(changed)
        for file in files:
            path, mode, _ = file
            place = target / path
            place.parent.mkdir(parents=True, exist_ok=True)
            origin = self._path_in_image(root, file) if file in missing else Path(root, path)
            if stat.S_ISDIR(mode):
                place.mkdir(exist_ok=True)
            elif stat.S_ISFIFO(mode):
                os.mkfifo(place)
            elif mode == LINK_MODE:
                os.symlink(os.readlink(origin), place)
            else:
                shutil.copyfile(origin, place)
                place.chmod(mode & 0o777)
        names = first_few([f"`{printable(path)}`" for path, _, _ in changed], most=1)
        self.notes.append(f"{names} in `{root}` changed since: the image's own copy is taken")
        return os.fspath(target)

    def _path_in_image(self, root: str, file: File) -> Path:
        path, mode, sha256 = file
        if stat.S_ISDIR(mode):
            return Path(root)
        if self._contents is None:
            self._contents = self._by_digest()
        try:
            return self._contents[sha256]
        except KeyError:
            raise LaunchError(
                f"`{printable(os.path.join(root, path))}` changed since the image was made from it, and the image has no copy",
                hint=f"bring back the file with sha256 {sha256}",
            ) from None

    def _by_digest(self) -> dict[str, Path]:
        """Where the image has each content, and each link's target."""
        found: dict[str, Path] = {}
        for layer in self._image.layers:
            root = self._store.layer_dir(layer)
            for entry in self._store.tree_of(layer):
                if entry.type == "file":
                    found[entry.sha256] = root / entry.path
                elif entry.type == "symlink":
                    found[hashlib.sha256(os.fsencode(entry.link)).hexdigest()] = root / entry.path
        return found


def _is_as_recorded(path: str, file: File) -> bool:
    _, mode, sha256 = file
    try:
        if stat.S_ISDIR(mode):
            return os.path.isdir(path)
        if mode == LINK_MODE:
            return hashlib.sha256(os.fsencode(os.readlink(path))).hexdigest() == sha256
        if stat.S_ISFIFO(mode):
            return True  # it is made, and nothing of it is read
        # A pipe in a file's place would be waited for.
        return stat.S_ISREG(os.lstat(path).st_mode) and digest_file(Path(path)).hex == sha256
    except (OSError, StoreError):
        return False


def with_restored_code(plan: LaunchPlan, archive: Path, *, cache_dir: Path) -> LaunchPlan:
    """*plan* with code that is read from *archive*; as it was when there is none. Each file is checked when it is copied."""
    if not archive.is_file() or not plan.code.files:
        return plan
    # By what is in it, not by what the plan says that it is: the record may be a stranger's.
    place = cache_dir / "code" / digest_file(archive).hex
    if not place.is_dir():
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with archive.open("rb") as stream, new_directory(place) as partial:
            extract(stream, partial)
    target = next((step.target for step in plan.build.steps if isinstance(step, CopyIn)), "/")
    source = str(place / target.lstrip("/"))
    steps = tuple(_read_from(step, source) for step in plan.build.steps)
    return replace(plan, build=replace(plan.build, steps=steps))


def _read_from(step: Step, source: str) -> Step:
    return replace(step, source=source) if isinstance(step, CopyIn) or (isinstance(step, InstallTree) and not step.git) else step
