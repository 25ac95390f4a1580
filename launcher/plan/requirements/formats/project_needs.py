"""What a project's pyproject.toml asks for, as Poetry and PDM read it: dependencies, those of extras, those of groups.

`[project]` (PEP 621) and `[dependency-groups]` (PEP 735), `[tool.poetry]` with its own words for versions, `[tool.pdm]`'s
dev-dependencies. The main dependencies always count; extras and groups are asked for by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from launcher.errors import ConfigError, Origin
from launcher.plan.origins import shown_path
from launcher.plan.requirements.formats.lock_graph import Need, need_of, normalized
from launcher.plan.requirements.formats.poetry_constraint import specifiers
from launcher.plan.requirements.formats.requirements_file import Parts
from launcher.plan.requirements.formats.toml_file import read_toml
from runtime.suggestions import did_you_mean


class Dependency(NamedTuple):
    """One dependency of a project, and where it comes from if not from an index."""

    need: Need
    source: Mapping[str, Any] = {}
    """Poetry's keys `git`, `branch`, `tag`, `rev`, `subdirectory`, `path`, `url`."""

    def found_from(self, directory: Path) -> Dependency:
        """With the absolute path of one whose path is relative to the project's *directory*."""
        path = self.source.get("path")
        return self if path is None else self._replace(source={**self.source, "path": os.path.abspath(directory / str(path))})

    def to_line(self) -> str:
        """As a line of a requirements file."""
        need, source = self.need, self.source
        extras = f"[{','.join(sorted(need.extras))}]" if need.extras else ""
        marker = f" ; {need.marker}" if need.marker is not None else ""
        if address := _address(source):
            return f"{need.name}{extras} @ {address}{marker}"
        if len(need.allowed) > 1:
            either = "` or `".join(map(str, need.allowed))
            hint = "`poetry lock` makes a poetry.lock, which can be read instead"
            raise ConfigError(f"`{need.name}`: requirement files have no word for `{either}`", hint=hint)
        return f"{need.name}{extras}{need.allowed[0] if need.allowed else ''}{marker}"


def _address(source: Mapping[str, Any]) -> str | None:
    if "git" in source:
        revision = source.get("rev") or source.get("tag") or source.get("branch")
        part = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
        return f"git+{_git_url(str(source['git']))}{f'@{revision}' if revision else ''}{part}"
    if "path" in source:
        return Path(source["path"]).as_uri()
    return source.get("url")


def _git_url(text: str) -> str:
    """`git@host:owner/name.git` is ssh's address."""
    found = re.fullmatch(r"([\w.-]+@[\w.-]+):(.+)", text)
    return f"ssh://{found[1]}/{found[2]}" if found else text


def project_dependencies(path: Path, parts: Parts) -> list[Dependency]:
    """What the project of pyproject.toml *path* needs, with *parts* of it. Raises ConfigError for one that it doesn't have."""
    document = read_toml(path)
    try:
        main, optional = _tables(document, document.get("tool", {}))
        found = list(main())
        for kind, wanted in (("extra", parts.extras), ("group", parts.groups)):
            known = {canonicalize_name(name): make for (of, name), make in optional.items() if of == kind}
            for name in wanted:
                if canonicalize_name(name) not in known:
                    hint = did_you_mean(name, known) or (f"it has {', '.join(sorted(known))}" if known else None)
                    raise ConfigError(f"`{shown_path(path)}` has no {kind} `{name}`", hint=hint, origin=Origin(file=str(path)))
                found += known[canonicalize_name(name)]()
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ConfigError(f"`{shown_path(path)}` holds a dependency that can't be read: {error}") from error
    return [dependency.found_from(path.parent) for dependency in found]


def has_poetry_only(path: Path) -> bool:
    """Whether the pyproject.toml *path* has its dependencies in Poetry's own words alone."""
    document = read_toml(path)
    return "project" not in document and "poetry" in document.get("tool", {})


Make = Callable[[], Iterator[Dependency]]


def _tables(document: Mapping[str, Any], tool: Mapping[str, Any]) -> tuple[Make, dict[tuple[str, str], Make]]:
    """What always counts, and what does when it is asked for, by kind and name."""
    project, poetry = document.get("project", {}), tool.get("poetry", {})
    optional: dict[tuple[str, str], Make] = {}
    for name, lines in project.get("optional-dependencies", {}).items():
        optional["extra", name] = partial(_of_lines, lines)
    groups: dict[str, Any] = {canonicalize_name(name): entries for name, entries in document.get("dependency-groups", {}).items()}
    for name in groups:
        optional["group", name] = partial(_of_group, name, groups)
    for name, lines in tool.get("pdm", {}).get("dev-dependencies", {}).items():
        optional["group", name] = partial(_of_lines, lines)
    own = poetry.get("dependencies", {})
    for name, words in poetry.get("extras", {}).items():
        optional["extra", name] = partial(_of_poetry, _only(own, words), optional=True)
    if "dev-dependencies" in poetry:
        optional["group", "dev"] = partial(_of_poetry, poetry["dev-dependencies"])
    for name, group in poetry.get("group", {}).items():
        optional["group", name] = partial(_of_poetry, group.get("dependencies", {}))

    def main() -> Iterator[Dependency]:
        if "dependencies" in project:
            # With both, Poetry takes from its own table only where a package comes from.
            yield from _of_lines(project["dependencies"])
        else:
            yield from _of_poetry(own)

    return main, optional


def _only(table: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    wanted = normalized(Requirement(name).name for name in names)
    return {name: value for name, value in table.items() if canonicalize_name(name) in wanted}


def _of_lines(lines: Sequence[str]) -> Iterator[Dependency]:
    for line in lines:
        required = Requirement(line)
        yield Dependency(need_of(required), {"url": required.url} if required.url else {})


def _of_group(name: str, groups: Mapping[str, Any], seen: set[str] | None = None) -> Iterator[Dependency]:
    """Each group once, however often others include it: *seen* were."""
    seen = set() if seen is None else seen
    seen.add(name)
    for entry in groups[name]:
        if isinstance(entry, str):
            yield from _of_lines([entry])
        elif (included := canonicalize_name(entry["include-group"])) not in seen:
            yield from _of_group(included, groups, seen)


def _of_poetry(table: Mapping[str, Any], *, optional: bool = False) -> Iterator[Dependency]:
    """*optional*: those that an extra asked for, too."""
    for name, value in table.items():
        for each in value if isinstance(value, list) else [value]:
            entry = {"version": each} if isinstance(each, str) else each
            if name.lower() != "python" and (optional or not entry.get("optional")):
                yield Dependency(poetry_need(name, entry), {key: entry[key] for key in _SOURCES if key in entry})


_SOURCES = ("git", "branch", "tag", "rev", "subdirectory", "path", "url")


def poetry_need(name: str, entry: Mapping[str, Any]) -> Need:
    """An entry of Poetry's dependencies, in pyproject.toml and in poetry.lock."""
    version = str(entry.get("version", "*"))
    allowed = () if version == "*" else specifiers(version)
    return Need(canonicalize_name(name), allowed, normalized(entry.get("extras", ())), _marker(entry))


def _marker(entry: Mapping[str, Any]) -> Marker | None:
    parts = [str(entry["markers"])] if entry.get("markers") else []
    if entry.get("python") and entry["python"] != "*":
        parts.append(_either("python_full_version", str(entry["python"])))
    if entry.get("platform"):
        parts.append(f"sys_platform == {_quoted(str(entry['platform']))}")
    return Marker(" and ".join(f"({part})" for part in parts)) if parts else None


def _either(variable: str, constraint: str) -> str:
    """A marker for *constraint* on *variable*."""
    alternatives = [
        " and ".join(f"{variable} {each.operator} {_quoted(each.version)}" for each in allowed)
        for allowed in specifiers(constraint)
    ]
    return " or ".join(f"({each})" for each in alternatives if each)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "") + "'"
