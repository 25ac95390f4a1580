"""What a person required, read from a list, requirements.txt, pyproject.toml, uv.lock or pylock.toml.

Only as much is parsed here as is needed to know which files were read (so that a recorded resolution is forgotten when one
changes) and which index options they hold (so that the download asks where the resolver asked). The requirements themselves
are uv's to read: the syntax is pip's ("Requirements File Format").
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from launcher.config.spec import Image, Index
from launcher.errors import ConfigError
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
    project: Path | None
    """pyproject.toml, uv.lock or pylock.toml."""
    contents: tuple[tuple[str, str], ...]
    """What counts of each file: (name as written, text without comments), in reading order."""
    files: tuple[Path, ...]
    index_options: tuple[tuple[str, str], ...]
    """(`index-url` | `extra-index-url` | `find-links` | `no-index`, value), in order of appearance."""

    @property
    def digest(self) -> Digest:
        """The same on every machine: neither absolute paths nor comments take part."""
        return digest_json([list(pair) for pair in self.contents])

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
    reading = _Reader()
    lines: list[str] = []
    project = None
    if isinstance(requirements, str | Path):
        path = base_dir / requirements
        if path.suffix == ".toml" or path.name == "uv.lock":
            project = path
            reading.contents.append((path.name, reading.text_of(path)))
        else:
            lines.append(f"-r {path}")
            reading.walk_file(path, path.name)
    else:
        lines += reading.walk_lines(requirements, base_dir, "list")
    if extra:
        lines += reading.walk_lines(extra, base_dir, "extra")
    return RequirementSet(tuple(lines), project, tuple(reading.contents), tuple(reading.files), tuple(reading.index_options))


class _Reader:
    """Collects files, contents and options while the includes are followed."""

    def __init__(self) -> None:
        self.contents: list[tuple[str, str]] = []
        self.files: list[Path] = []
        self.index_options: list[tuple[str, str]] = []

    def text_of(self, path: Path) -> str:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise ConfigError(f"requirements file `{path}` does not exist") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read requirements file `{path}`: {error}") from error
        self.files.append(path)
        return text

    def walk_file(self, path: Path, name: str) -> None:
        # `sub/../base.txt` is `base.txt`: files may include each other, and under several spellings.
        path = Path(os.path.normpath(path))
        if path in self.files:
            return
        text = self.text_of(path)
        self.walk_lines(list(logical_lines(text)), path.parent, name)

    def walk_lines(self, written: Sequence[str], directory: Path, name: str) -> list[str]:
        """Note *written* as the content of *name*, follow its includes, and return it with absolute paths."""
        place = len(self.contents)
        absolute = []
        for line in written:
            option, value = split_option(line)
            if option in _INCLUDES and "://" not in value:
                self.walk_file(directory / value, value)
                absolute.append(f"{option} {directory / value}")
                continue
            if option in ("-e", "--editable"):
                raise ConfigError(
                    f"editable requirement `{line}` in {name}: an image holds wheels, not links to a directory",
                    hint="put the code below `code.root`, or name a released version",
                )
            if option in _INDEX_OPTIONS:
                self.index_options.append((_INDEX_OPTIONS[option], _place(option, value, directory)))
            absolute.append(line)
        self.contents.insert(place, (name, "\n".join(" ".join(line.split()) for line in written)))
        return absolute


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


@dataclass(frozen=True, slots=True)
class ProjectIndexes:
    options: tuple[tuple[str, str], ...] = ()
    """(`index-url` | `extra-index-url`, address), as in a requirements file."""
    bound: frozenset[str] = frozenset()
    """Normalised names of packages that `[tool.uv.sources]` takes from a named index."""


def project_indexes(project: Path) -> ProjectIndexes:
    """What the pyproject.toml beside (or named by) *project* says about indexes (`[[tool.uv.index]]`, `[tool.uv.sources]`).

    The resolver runs in the project and reads them; the download does not, since a plan is built away from it. So the open ones
    become index options, and a package that is bound to an index by its source is downloaded by its address.
    """
    import tomllib

    from packaging.utils import canonicalize_name

    path = project.with_name("pyproject.toml")
    try:
        settings: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("uv", {})
    except FileNotFoundError:
        return ProjectIndexes()
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read `{path}`: {error}") from error
    options = tuple(
        ("index-url" if index.get("default") else "extra-index-url", index["url"])
        for index in settings.get("index", ())
        if "url" in index and not index.get("explicit")
    )
    bound = frozenset(canonicalize_name(name) for name, source in settings.get("sources", {}).items() if _names_an_index(source))
    return ProjectIndexes(options, bound)


def _names_an_index(source: Any) -> bool:
    """A source is a table, or a list of tables with markers."""
    return any("index" in each for each in (source if isinstance(source, list) else [source]) if isinstance(each, dict))
