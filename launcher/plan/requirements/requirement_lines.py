"""What a person required, read from a list, a requirements file, a pyproject.toml or a lock file.

Only as much is parsed here as is needed to know which files were read (so that a recorded resolution is forgotten when one
changes) and which index options they hold (so that the download asks where the resolver asked). The requirements themselves
are uv's to read: the syntax is pip's ("Requirements File Format").
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from launcher.config.spec import Image, Index
from launcher.errors import ConfigError
from launcher.plan.origins import shown_path
from launcher.plan.requirements.formats.requirements_file import Kind, RequirementsFile, parse_file
from launcher.plan.requirements.formats.toml_file import read_text
from launcher.plan.requirements.tree_lines import TreeLine, find_tree
from runtime.light_dataclasses import dataclass
from runtime.oci.digest import Digest, digest_json

_INCLUDES = {"-r": "requirement", "--requirement": "requirement", "-c": "constraint", "--constraint": "constraint"}
_INDEX_OPTIONS = {
    "-i": "index-url",
    "--index-url": "index-url",
    "--extra-index-url": "extra-index-url",
    "-f": "find-links",
    "--find-links": "find-links",
    "--no-index": "no-index",
}


@dataclass(frozen=True, slots=True)
class RequirementSet:
    """Requirements and every file that they were read from."""

    lines: tuple[str, ...]
    """Lines of a requirements file in which included files have absolute paths; empty when *project* is set."""
    project: RequirementsFile | None
    """pyproject.toml or a lock file."""
    contents: tuple[tuple[str, str], ...]
    """What counts of each file: (name as written, text without comments), in reading order."""
    files: tuple[Path, ...]
    index_options: tuple[tuple[str, str], ...]
    """(`index-url` | `extra-index-url` | `find-links` | `no-index`, value), in order of appearance."""
    older_contents: tuple[tuple[str, str], ...]
    """*contents* as they were noted until they were made the same for every clone of a project."""
    trees: tuple[TreeLine, ...] = ()
    """What the lines name that are no files. *lines* then holds the lines of included files themselves."""

    @property
    def digest(self) -> Digest:
        """The same on every machine: neither absolute paths nor comments take part."""
        return digest_json([list(pair) for pair in self.contents])

    @property
    def older_digest(self) -> Digest:
        """The same with the files of a list by their whole path."""
        return digest_json([list(pair) for pair in self.older_contents])

    @property
    def is_empty(self) -> bool:
        return not self.lines and self.project is None


class RequirementRequest(NamedTuple):
    """What an experiment asks for."""

    requirements: Sequence[str] | str | Path
    """A path or a list of requirement lines."""
    base_dir: Path
    """Where relative paths start, and where uv looks for the project's own settings."""
    indexes: Index = Index()
    cuda: str | None = None
    """`image.cuda`"""
    extra: Sequence[str] = ()
    """Lines that are added."""

    @classmethod
    def of(cls, image: Image, code_root: str) -> RequirementRequest:
        """That of *image*. Paths in it are absolute already."""
        extra = tuple(line for group in image.groups.values() for line in group.requirements)
        return cls(image.requirements, Path(os.path.realpath(code_root)), image.index, image.cuda, extra)

    @property
    def is_empty(self) -> bool:
        return not self.requirements and not self.extra


def read_requirements(request: RequirementRequest) -> RequirementSet:
    """Read what *request* names, and every file that is included."""
    requirements, base_dir, _, _, extra = request
    reading = _Reader(base_dir)
    if isinstance(requirements, str | Path):
        lines = reading.walk_any(parse_file(os.fspath(requirements), base_dir))
    else:
        lines = reading.walk_lines(requirements, base_dir, "list")
    if extra:
        lines += reading.walk_lines(extra, base_dir, "extra")
    return RequirementSet(
        lines=tuple(lines),
        project=reading.project,
        contents=tuple((name, _relative(text, base_dir) if name in _OURS else text) for name, text in reading.contents),
        files=tuple(reading.files),
        index_options=tuple(reading.index_options),
        older_contents=tuple(reading.contents),
        trees=tuple(reading.trees),
    )


def _relative(text: str, base_dir: Path) -> str:
    """*text*, lines of a list, with the files that they name as seen from *base_dir*; the configuration made them absolute."""
    return _LISTED_FILE.sub(lambda found: found[1] + os.path.relpath(found[2], base_dir), text)


_LISTED_FILE = re.compile(r"^(-[rc] |--(?:requirement|constraint) |)(/\S+)", re.MULTILINE)
_OURS = ("list", "extra")
"""Lists of a configuration: their `-r` may name a project, too, which those of pip's files can't."""


class _Reader:
    """Collects files, contents and options while the includes are followed."""

    def __init__(self, code: Path) -> None:
        self.project: RequirementsFile | None = None
        self._code = Path(os.path.realpath(code))
        self.trees: list[TreeLine] = []
        self.contents: list[tuple[str, str]] = []
        self.files: list[Path] = []
        self.index_options: list[tuple[str, str]] = []

    def text_of(self, path: Path) -> str:
        text = read_text(path, f"requirements file `{shown_path(path)}`")
        self.files.append(path)
        return text

    def walk_any(self, file: RequirementsFile) -> list[str]:
        """Read *file* of whatever kind; the lines that it adds, with absolute paths. Of a project there is one."""
        path = file.path
        if file.kind is Kind.REQUIREMENTS:
            return self._include(f"-r {path}", path, path.name)
        if file.kind is Kind.CONDA:
            from launcher.plan.requirements.formats.conda_environment import read_environment

            return self.walk_lines(read_environment(path, self.text_of(path)).lines, path.parent, path.name)
        if self.project is not None:
            raise ConfigError(
                f"`{shown_path(path)}` and `{shown_path(self.project.path)}` are two projects, and an image has one"
            )
        self.project = file
        self.contents.append((" ".join([path.name, *file.parts.uv_words()]), self.text_of(path)))
        beside = path.with_name("pyproject.toml")
        if file.kind in (Kind.POETRY, Kind.PDM) and beside.exists():
            self.contents.append((beside.name, self.text_of(beside)))
        return []

    def _include(self, option: str, path: Path, name: str) -> list[str]:
        """The lines of the file *path* where it names trees, which uv sees as directories; else *option*: uv reads it."""
        known = len(self.trees)
        included = self.walk_file(path, name)
        return included if len(self.trees) > known else [option]

    def walk_file(self, path: Path, name: str) -> list[str]:
        """The lines of the file, those of included ones in their place; none of one that was read before."""
        # `sub/../base.txt` is `base.txt`: files may include each other, and under several spellings.
        path = Path(os.path.normpath(path))
        if path in self.files:
            return []
        text = self.text_of(path)
        return self.walk_lines(list(logical_lines(text)), path.parent, name)

    def walk_lines(self, written: Sequence[str], directory: Path, name: str) -> list[str]:
        """Note *written* as the content of *name*, follow its includes, and return it with absolute paths."""
        place = len(self.contents)
        absolute = []
        for line in written:
            option, value = split_option(line)
            if option in ("-r", "--requirement") and name in _OURS and "://" not in value:
                absolute += self.walk_any(parse_file(value, directory))
                continue
            if option in _INCLUDES and "://" not in value:
                absolute += self._include(f"{option} {directory / value}", directory / value, value)
                continue
            if option in _INDEX_OPTIONS:
                self.index_options.append((_INDEX_OPTIONS[option], _place(option, value, directory)))
                line = f"{option} {_place(option, value, directory)}".strip()
            self._note_tree(line, directory)
            absolute.append(line)
        self.contents.insert(place, (name, "\n".join(" ".join(line.split()) for line in written)))
        return absolute

    def _note_tree(self, line: str, near: Path) -> None:
        tree = find_tree(line, code=self._code, near=near)
        if tree is None:
            return
        self.trees.append(tree)
        if not tree.is_git:
            # What it needs stands in these files. Other edits of the code leave the answer as it is.
            from launcher.plan.requirements.project_files import metadata_texts

            self.contents += [(f"{tree.place}/{name}", text) for name, text in metadata_texts(self._code / tree.place)]


def _place(option: str, value: str, directory: Path) -> str:
    """A find-links directory is relative to the file that names it."""
    if option in ("-f", "--find-links") and "://" not in value:
        return os.fspath(directory / value)
    return os.path.expandvars(value)


def split_option(line: str) -> tuple[str, str]:
    """`-r file`, `-rfile`, `--requirement=file` → (option, value); a requirement → ("", line)."""
    if not line.startswith("-"):
        return "", line
    if line.startswith("--"):
        option, _, value = re.sub(r"[=\s]", " ", line, count=1).partition(" ")
        return option, value.strip()
    return line[:2], line[2:].strip().removeprefix("=").strip()


_COMMENT = re.compile(r"(^|\s)#.*$")


def logical_lines(text: str) -> Iterator[str]:
    """Lines of a requirements file: continued lines joined, comments and empty lines left out (pip: req_file.py)."""
    joined = ""
    for line in text.splitlines():
        if line.endswith("\\") and not _COMMENT.match(line.lstrip()):
            joined += line[:-1] + " "
            continue
        whole = _COMMENT.sub("", joined + line).strip()
        joined = ""
        if whole:
            yield whole
    if joined.strip():
        yield joined.strip()
