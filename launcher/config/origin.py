"""Where each value came from, and what was written there: (file, line, source text) of every key of a composed tree.

YAML turns `3.10` into 3.1 and `012` into 10, and a composed tree no longer knows its files. So the files that took part are
read a second time as YAML *nodes*, in the order of composition. Merging values is Hydra's business (`compose.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from launcher.config.limits import Loader, check_document
from launcher.config.project import MOST_BYTES
from launcher.config.schema_shape import KeyPath
from launcher.errors import ConfigError, Origin
from runtime.light_dataclasses import dataclass

_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Source:
    """What was written for one key, and where."""

    origin: Origin
    holder: Path
    """The directory that a relative path in this value starts from."""
    text: str | None = None
    """A scalar's text as written; None for lists, mappings and null."""
    config: str | None = None
    """The configuration that holds it (`experiment/digits`); None for the command line."""


class Sources:
    """Key path → Source, the later over the earlier, as composition does."""

    def __init__(self, display_root: Path) -> None:
        self._known: dict[KeyPath, Source] = {}
        self._written: list[tuple[KeyPath, Source]] = []
        self._display_root = display_root
        self._nodes: dict[Path, yaml.Node | None] = {}

    def copy(self) -> Sources:
        other = Sources(self._display_root)
        other._known = dict(self._known)
        other._written = self._written
        return other

    def written(self) -> list[tuple[KeyPath, Source]]:
        """Every value that a file wrote, the overruled ones too, in order of composition."""
        return self._written

    def get(self, path: KeyPath) -> Source | None:
        return self._known.get(path)

    def nearest(self, path: KeyPath) -> Source | None:
        """The source of *path* or of the mapping or list around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._known:
                return self._known[path[:length]]
        return None

    def origin(self, path: KeyPath) -> Origin | None:
        """Where `nearest` was written."""
        source = self.nearest(path)
        return source.origin if source is not None else None

    def below(self, path: KeyPath) -> Iterator[tuple[KeyPath, Source]]:
        """Every key at or below *path*."""
        for known, source in self._known.items():
            if known[: len(path)] == path:
                yield known, source

    def origins(self) -> dict[str, str]:
        """Dotted key → `conf/experiment/digits.yaml:7` or `command line: params.lr=0.1`, mappings around values included."""
        return {
            ".".join(map(str, path)): str(source.origin)
            for path, source in self._known.items()
            if not any(isinstance(part, int) for part in path)
        }

    def nodes(self, file: Path) -> yaml.Node | None:
        """The YAML of *file* as nodes, read once. Raises ConfigError for what is no configuration."""
        if file not in self._nodes:
            self._nodes[file] = read_nodes(file, shown=self.shown(file))
        return self._nodes[file]

    def add_file(self, file: Path, node: yaml.Node | None, *, package: KeyPath, holder: Path, config: str) -> None:
        """Put the values of one file over what is known."""
        shown = self.shown(file)
        if isinstance(node, yaml.MappingNode):
            for key, value in _pairs(node):
                if str(key.value) == "defaults":
                    continue
                self._put(
                    (*package, str(key.value)),
                    value,
                    lambda at, text: Source(Origin(file=shown, line=at.start_mark.line + 1), holder, text, config),
                    key,
                )

    def add_override(self, path: KeyPath, value_text: str | None, *, override: str, holder: Path) -> None:
        """Put one override of the command line over what is known. *value_text* is read as YAML for the text of its scalars."""
        origin = Origin(override=override)
        self.drop(path)
        node = None
        if value_text is not None:
            try:
                node = yaml.compose(value_text, Loader=Loader)
            except yaml.YAMLError:
                node = None  # Hydra's grammar is wider than YAML's; then the value as parsed has to do
        if isinstance(node, yaml.CollectionNode) or (
            isinstance(node, yaml.ScalarNode) and value_text is not None and value_text[:1] in "\"'"
        ):
            self._put(path, node, lambda _at, text: Source(origin, holder, text), node)
        else:
            self._known[path] = Source(origin, holder, value_text)

    def add_value(self, path: KeyPath, *, override: str, holder: Path) -> None:
        """Say that the whole value at *path* comes from *override*, as it is."""
        self.drop(path)
        self._known[path] = Source(Origin(override=override), holder)

    def drop(self, path: KeyPath) -> None:
        for known in [known for known, _ in self.below(path)]:
            del self._known[known]

    def shown(self, file: Path) -> str:
        """*file* as errors name it: relative where it lies below the working directory."""
        return str(file.relative_to(self._display_root)) if file.is_relative_to(self._display_root) else str(file)

    def _put(self, path: KeyPath, node: yaml.Node, made: Any, at: yaml.Node) -> None:
        if not isinstance(node, yaml.MappingNode) and not isinstance(path[-1], int):
            self._written.append((path, made(at, None)))
        if isinstance(node, yaml.MappingNode):
            previous = self._known.get(path)
            if previous is not None and not any(True for known, _ in self.below(path) if known != path):
                self.drop(path)
            self._known[path] = made(at, None)
            for key, value in _pairs(node):
                self._put((*path, str(key.value)), value, made, key)
        elif isinstance(node, yaml.SequenceNode):
            self.drop(path)
            self._known[path] = made(at, None)
            for index, item in enumerate(node.value):
                self._put((*path, index), item, made, item)
        else:
            self.drop(path)
            self._known[path] = made(at, None if node.tag == _NULL else str(node.value))


def _pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Keys and values, those of `<<` first since the mapping's own win."""
    for key, value in node.value:
        if key.tag == _MERGE:
            for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                yield from _pairs(merged)
    for key, value in node.value:
        if key.tag != _MERGE:
            yield key, value


def _character(text: str, mark: yaml.Mark) -> str:
    lines = text.splitlines()
    return lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""


def read_nodes(file: Path, *, shown: str) -> yaml.Node | None:
    """The YAML of *file* as nodes. What is no YAML, or too much of it, becomes a ConfigError with its line."""
    text = _read_text(file, shown)
    try:
        check_document(text, shown=shown)
        node: yaml.Node | None = yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        is_tab = "tab character" in str(error.problem) or (mark is not None and _character(text, mark) == "\t")
        problem, hint = ("a tab", "YAML is indented with blanks") if is_tab else (error.problem or error.context, None)
        raise ConfigError(f"not YAML: {problem}", origin=Origin(file=shown, line=line), hint=hint) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", origin=Origin(file=shown)) from error
    if node is not None and not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            "a configuration file is a mapping of keys to values", origin=Origin(file=shown, line=node.start_mark.line + 1)
        )
    _check_keys(node, shown)
    return node


def _read_text(file: Path, shown: str) -> str:
    with file.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ConfigError(f"a configuration file of more than {MOST_BYTES >> 20} MiB", origin=Origin(file=shown))
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        word = content[error.start : error.end].decode(errors="backslashreplace")
        raise ConfigError(
            f"not UTF-8: the byte `{word}`", origin=Origin(file=shown, line=line), hint="save the file as UTF-8"
        ) from error


def _check_keys(node: yaml.Node | None, shown: str) -> None:
    """Keys are words, each stands once, and `<<` merges mappings."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            origin, name = Origin(file=shown, line=key.start_mark.line + 1), str(key.value)
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError("a key is a word, no list or mapping", origin=origin)
            if name in seen:
                raise ConfigError(f"the key `{name}` stands twice, first in line {seen[name]}", origin=origin)
            merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
            if key.tag == _MERGE and not all(isinstance(one, yaml.MappingNode) for one in merged):
                raise ConfigError("`<<` merges mappings", origin=origin, hint="as in `<<: *NAME`, where `&NAME` stands at one")
            seen[name] = key.start_mark.line + 1
            _check_keys(value, shown)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, shown)
