"""The trees that a resolution looks into: uv reads what a package needs in a directory on this machine.

A commit is fetched here, once a resolution; of directories of the code uv sees what a build could read (`project_files.py`). uv's
answer then names directories, which become what is locked: a commit and the digest of its files, or a place in the code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from launcher.errors import ConfigError, LaunchError
from launcher.plan.launch_plan import LockedWheel
from launcher.plan.requirements.tree_lines import TreeLine, find_tree
from runtime.errors import BadContent, NetworkError, NotAvailable

if TYPE_CHECKING:
    from runtime.build.wheels.git_tree import GitSource


@contextmanager
def source_trees(root: Path, trees: Sequence[TreeLine], *, environ: Mapping[str, str], cache_dir: Path) -> Iterator[SourceTrees]:
    """SourceTrees in a directory that goes away after the body. It is below *cache_dir*, where a container can see it."""
    import tempfile

    from runtime.store.scratch import room_for_containers

    cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="trees-", dir=room_for_containers(cache_dir, environ)) as scratch:
        yield SourceTrees(Path(scratch), root, trees, environ=environ)


class SourceTrees:
    """Directories in *scratch* that stand for the *trees* of a resolution in the code *root*."""

    def __init__(self, scratch: Path, root: Path, trees: Sequence[TreeLine], *, environ: Mapping[str, str]) -> None:
        self.directory = Path(os.path.realpath(scratch))
        self._root = Path(os.path.realpath(root))
        self._trees = {tree.line: tree for tree in trees}
        self._environ = environ
        self._commits: dict[Path, tuple[GitSource, str]] = {}
        """Directory of a repository → its commit, and the digest of its files."""
        self._fetched_as: dict[GitSource, Path] = {}
        """By what was asked for, a branch say, and by its commit: fetched once, so that all of a lock is of one moment."""
        self._overrides: dict[str, str] = {}

    @property
    def _code(self) -> Path:
        return self.directory / "code"

    def lines_for_uv(self, lines: Iterable[str]) -> list[str]:
        """*lines* with directories in the place of trees."""
        return [line if (tree := self._tree_of(line)) is None else tree.in_directory(self._files_of(tree)) for line in lines]

    def _tree_of(self, line: str) -> TreeLine | None:
        """A line of a file is known; others come out of projects, which say such things in ways of their own."""
        tree = self._trees.get(line) or find_tree(line, code=self._root, near=self._root)
        if tree is not None:
            self._trees[line] = tree
        return tree

    def _files_of(self, tree: TreeLine) -> Path:
        if tree.is_git:
            return self._fetched(os.path.expandvars(tree.place))
        if not self._code.is_dir():
            self._copy_code()
        return self._code / tree.place

    def _copy_code(self) -> None:
        """What builds in the code could read; of the rest the names."""
        from launcher.plan.code.code_snapshot import list_code
        from launcher.plan.requirements.project_files import build_texts, read_by_build, version_description
        from runtime.build.wheels.git_version import DESCRIPTION

        files = list_code(os.fspath(self._root), environ=self._environ)
        read: set[str] = set()
        descriptions: dict[str, str] = {}
        projects = {os.path.dirname(path) for path in files if os.path.basename(path) in ("pyproject.toml", "setup.py")}
        for project in projects:
            prefix = f"{project}/" if project else ""
            below = [path[len(prefix) :] for path in files if path.startswith(prefix)]
            texts = build_texts(self._root / project)
            read.update(prefix + path for path in read_by_build(below, texts))
            descriptions[f"{prefix}{DESCRIPTION}"] = version_description(self._root / project, texts)
        for path in files:
            place = self._code / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes((self._root / path).read_bytes() if path in read and (self._root / path).is_file() else b"")
        for path, text in descriptions.items():
            if text:
                (self._code / path).write_text(text, encoding="utf-8")

    def _fetched(self, url: str) -> Path:
        from runtime.build.wheels.git_tree import fetch_tree, parse_git_url

        try:
            source, address = parse_git_url(url)
            whole = source._replace(subdirectory="")
            if (known := self._fetched_as.get(whole)) is not None:
                return known / source.subdirectory
            place = self.directory / f"git-{len(self._commits)}"
            tree = fetch_tree(source, place, environ=self._environ, address=address)
        except (BadContent, NotAvailable) as error:
            raise ConfigError(error.message, hint=error.hint) from error
        except NetworkError as error:
            raise LaunchError(error.message, hint=error.hint) from error
        self._commits[place] = source._replace(revision=tree.commit), tree.digest.hex
        self._fetched_as |= {whole: place, whole._replace(revision=tree.commit): place}
        return place / source.subdirectory

    def fetch_what_lacks_git(self, words: str) -> bool:
        """Whether *words* of uv in a container, where there is no git, name a repository that a package needs and that was not
        here yet; now it is, and `overrides` has uv take it."""
        found = re.search(r"`([\w.-]+(?:\[[^\]]*\])?) @ (git\+[^`\s]+)`", words)
        if found is None or "Git executable not found" not in words or found[1] in self._overrides:
            return False
        self._overrides[found[1]] = f"{found[1]} @ file://{self._fetched(found[2])}"
        return True

    def overrides(self) -> list[str]:
        """Arguments of uv."""
        if not self._overrides:
            return []
        file = self.directory / "overrides.txt"
        file.write_text("".join(f"{line}\n" for line in self._overrides.values()), encoding="utf-8")
        return ["--override", os.fspath(file)]

    def as_written(self, words: str) -> str:
        """*words* of uv with repositories and the code in the place of our directories."""
        for place, (source, _) in self._commits.items():
            ours = rf"(?:file://)?{re.escape(os.fspath(place))}(?!\d)"
            whole = source._replace(subdirectory="").url.replace("\\", r"\\")
            words = re.sub(f"{ours}/", f"{whole}#subdirectory=", words)
            words = re.sub(ours, whole, words)
        return words.replace(os.fspath(self._code), os.fspath(self._root))

    def locked(self, wheels: Iterable[LockedWheel]) -> tuple[LockedWheel, ...]:
        """*wheels*, those that uv took from a directory or a repository pinned as what they are, the code's own last."""
        found = [self._pin(wheel) for wheel in wheels]
        return tuple(sorted(found, key=lambda wheel: wheel.directory is not None))

    def _pin(self, wheel: LockedWheel) -> LockedWheel:
        if wheel.sha256 or wheel.url is None:
            return wheel
        directory = (
            self._fetched(wheel.url) if wheel.is_git else self._root / unquote(urlsplit(wheel.url.removeprefix("-e ")).path)
        )
        for place, (source, digest) in self._commits.items():
            if directory.is_relative_to(place):
                below = os.path.relpath(directory, place)
                url = source._replace(subdirectory="" if below == "." else below).url
                return LockedWheel.of_git(wheel.name, wheel.version or source.revision[:12], url, digest)
        below = os.path.relpath(directory, self._code if directory.is_relative_to(self._code) else self._root)
        if below.startswith(".."):
            raise ConfigError(f"requirement `{wheel.name}` is the directory `{directory}`, which is not part of the code")
        editable = wheel.is_editable or any(tree.editable and tree.place == below for tree in self._trees.values())
        url = "./" if below == "." else f"./{below}"
        return LockedWheel.of_code(wheel.name, f"-e {url}" if editable else url)
