"""The tree of an InstallTree step on disk, for its build in a container, and what such a build leaves in it.

A commit of a git repository is fetched again and must be what was locked; files of the code are copied, each checked against the
digest that was taken at launch. Of an editable package the build sees, at its place in the image, what it may read, and other
modules as empty files: then an edit of those can't change what comes out. Libraries that it compiles beside its sources become
part of the layer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from runtime.build.copy.copy_sources import changed_error, is_plain
from runtime.build.plan import DIRECTORY_MODE, LINK_MODE, InstallTree
from runtime.build.wheels.git_tree import fetch_tree, parse_git_url
from runtime.build.wheels.git_version import DESCRIPTION
from runtime.errors import BadContent
from runtime.layer.file_copy import copy_hashed
from runtime.layer.tree import TreeEntry, printable
from runtime.rootfs.mount_spec import BindMount

_PLACE = "/run/launch-build/work/tree"


class SourceTree(NamedTuple):
    """A tree in its directory."""

    step: InstallTree
    root: Path

    @property
    def requirement(self) -> str:
        """What uv is asked to install in the container."""
        if self.step.target:
            return f"-e file://{self.step.target}"
        below = self.step.git.partition("#subdirectory=")[2]
        return f"{self.step.name} @ file://{_PLACE}" + (f"/{below}" if below else "")

    @property
    def binds(self) -> list[BindMount]:
        """What has to be mounted for it beside the work directory."""
        return [BindMount(self.root, self.step.target, readonly=False)] if self.step.target else []

    def libraries(self) -> list[str]:
        """Compiled modules that the build left beside the sources of an editable package: paths below the root."""
        if not self.step.target:
            return []
        known = {path for path, _, _ in self.step.rows}
        files = (path for path in self.root.rglob("*.so") if path.is_file() and not path.is_symlink())
        found = sorted(os.path.relpath(path, self.root) for path in files)
        return [path for path in found if path not in known and not path.startswith("build/")]


def make_source_tree(step: InstallTree, work: Path, *, environ: Mapping[str, str], addresses: Mapping[str, str]) -> SourceTree:
    """The files of *step* in *work*`/tree`. Raises BuildError where they are no longer what was planned."""
    root = work / "tree"
    if not step.git:
        _copy_code(step, root)
        return SourceTree(step, root)
    source, _ = parse_git_url(step.git)
    tree = fetch_tree(source, root, environ=environ, address=addresses.get(source.repository, ""))
    if tree.digest.hex != step.sha256:
        raise BadContent(
            f"`{step.git}` holds other files than were locked (sha256 {tree.digest.hex[:12]}, locked {step.sha256[:12]})",
            hint="a submodule or Git LFS gives other files than then; `launch lock` locks what is there now",
        )
    return SourceTree(step, root)


def _copy_code(step: InstallTree, root: Path) -> None:
    source = Path(step.source) / step.directory
    root.mkdir(mode=0o700)
    for path, mode, sha256 in step.rows:
        if not is_plain(path):
            raise BadContent(f"`{printable(path)}`: not a plain relative path")
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if mode == LINK_MODE:
            place.symlink_to(os.readlink(source / path))
        elif mode == DIRECTORY_MODE:
            place.mkdir(exist_ok=True)
        elif not sha256:
            place.touch()
        else:
            _copy_checked(source / path, place, mode, sha256)
    if step.description:
        (root / DESCRIPTION).write_text(step.description, encoding="utf-8")


def _copy_checked(source: Path, place: Path, mode: int, sha256: str) -> None:
    try:
        _, digests = copy_hashed(source, place, mode=mode & 0o777)
    except OSError as error:
        raise changed_error(os.fspath(source.parent), source.name, f"{error.strerror}") from error
    if digests["sha256"].hex() != sha256:
        raise changed_error(os.fspath(source.parent), source.name, "its content is another")


def place_libraries(tree: SourceTree, root: Path) -> list[TreeEntry]:
    """Copy what `SourceTree.libraries` names to its place below the layer's *root*."""
    return [_place_library(tree, path, root) for path in tree.libraries()]


def _place_library(tree: SourceTree, path: str, root: Path) -> TreeEntry:
    target = f"{tree.step.target.lstrip('/')}/{path}"
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    size, digests = copy_hashed(tree.root / path, root / target, mode=0o755)
    return TreeEntry(target, "file", 0o755, size=size, sha256=digests["sha256"].hex())
