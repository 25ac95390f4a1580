"""poetry.lock as a pylock.toml of what one Python and platform need.

Read are lock versions 1.0 and 1.1 (Poetry 1.0 to 1.2), 2.0 (1.3 to 1.8) and 2.1 (2.x). The older ones say nowhere which packages
are the project's own wishes, and have markers on edges only; so all are walked from the pyproject.toml beside them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from launcher.errors import ConfigError
from launcher.plan.origins import shown_path
from launcher.plan.requirements.formats.lock_graph import LockedPackage, LockGraph, Need, archive_entry, file_entries, git_entry
from launcher.plan.requirements.formats.poetry_constraint import specifiers
from launcher.plan.requirements.formats.project_needs import poetry_need, project_dependencies
from launcher.plan.requirements.formats.requirements_file import RequirementsFile
from launcher.plan.requirements.formats.toml_file import read_toml
from launcher.plan.requirements.other_pythons import wrong_python
from launcher.plan.requirements.target import Target


def read_poetry_lock(file: RequirementsFile, target: Target, *, without: Collection[str] = ()) -> dict[str, Any]:
    """What *target* needs of the poetry.lock *file*, as a document of PEP 751; *without*: see `LockGraph.document`."""
    document = read_toml(file.path)
    metadata = document.get("metadata", {})
    version = str(metadata.get("lock-version", "1.0"))
    if version not in ("1.0", "1.1", "2.0", "2.1"):
        hint = "1.0 to 2.1 can be read; `poetry export` or pylock.toml says the same in other words"
        raise ConfigError(f"`{shown_path(file.path)}` has lock-version {version}, which is not known", hint=hint)
    _check_python(file, str(metadata.get("python-versions", "*")), target)
    packages = [_package(entry, metadata, file) for entry in document.get("package", ())]
    needs = [each.need for each in project_dependencies(file.path.with_name("pyproject.toml"), file.parts)]
    return LockGraph(file.path, packages, target, again="poetry lock").document(needs, without=without)


def _check_python(file: RequirementsFile, constraint: str, target: Target) -> None:
    """Refuse a lock *file* that was made for other Pythons than *target*'s."""
    allowed = specifiers(constraint)
    if not any(each.contains(target.python, prereleases=True) for each in allowed):
        raise wrong_python(f"`{shown_path(file.path)}`", constraint, target, allowed=allowed)


def _package(entry: Mapping[str, Any], metadata: Mapping[str, Any], file: RequirementsFile) -> LockedPackage:
    name, version = canonicalize_name(entry["name"]), str(entry["version"])
    # Until 1.1 the files stand at the end, those of all versions under one name.
    files = entry.get("files") or metadata.get("files", {}).get(entry["name"], ())
    marker = entry.get("markers")
    return LockedPackage(
        name,
        version,
        tuple(_needs(entry)),
        {"name": name, "version": version, **_source(entry.get("source", {}), files, version, file)},
        _pythons(str(entry.get("python-versions", "*"))),
        # Lock version 2.1 has one for each group where they differ; which one counts, the edges say.
        Marker(marker) if isinstance(marker, str) else None,
    )


def _pythons(constraint: str) -> SpecifierSet:
    """Alternatives are rare here, and then every Python is taken: what has no wheel for it is refused later."""
    allowed = specifiers(constraint)
    return allowed[0] if len(allowed) == 1 else SpecifierSet()


def _needs(entry: Mapping[str, Any]) -> Iterator[Need]:
    extras: dict[str, str] = {
        canonicalize_name(found[0]): extra
        for extra, lines in entry.get("extras", {}).items()
        for line in lines
        if (found := re.match(r"[A-Za-z0-9._-]+", line))
    }
    for name, value in entry.get("dependencies", {}).items():
        for each in value if isinstance(value, list) else [value]:
            words = {"version": each} if isinstance(each, str) else each
            need = poetry_need(name, words)
            if words.get("optional") and "extra" not in str(need.marker):
                # Poetry before 1.1 says only in `extras` who wants it.
                need = need._replace(marker=Marker(f"extra == '{extras.get(need.name, '-')}'"))
            yield need


def _source(source: Mapping[str, Any], files: Any, version: str, file: RequirementsFile) -> dict[str, Any]:
    kind, url = source.get("type", "legacy"), str(source.get("url", ""))
    if kind == "git":
        commit = str(source["resolved_reference"])
        return git_entry(url, commit, revision=source.get("reference"), subdirectory=source.get("subdirectory"))
    path = str(file.path.parent / url)
    if kind == "directory":
        return {"directory": {"path": path}}
    if kind in ("url", "file"):
        return archive_entry(files, url=url) if kind == "url" else archive_entry(files, path=path)
    return file_entries(files, version)
