"""pdm.lock as a pylock.toml of what one Python and platform need.

Read are lock versions 3.x and 4.x (PDM 2). Walked from the pyproject.toml beside it, as poetry.lock is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from launcher.errors import ConfigError
from launcher.plan.origins import shown_path
from launcher.plan.requirements.formats.lock_graph import (
    LockedPackage,
    LockGraph,
    archive_entry,
    file_entries,
    git_entry,
    need_of,
    normalized,
)
from launcher.plan.requirements.formats.project_needs import project_dependencies
from launcher.plan.requirements.formats.requirements_file import RequirementsFile
from launcher.plan.requirements.formats.toml_file import read_toml
from launcher.plan.requirements.target import Target


def read_pdm_lock(file: RequirementsFile, target: Target, *, without: Collection[str] = ()) -> dict[str, Any]:
    """What *target* needs of the pdm.lock *file*, as a document of PEP 751; *without*: see `LockGraph.document`."""
    document = read_toml(file.path)
    metadata = document.get("metadata", {})
    version = str(metadata.get("lock_version", "?"))
    if version.partition(".")[0] not in ("3", "4"):
        hint = "3.x and 4.x can be read; `pdm export -f pylock` says the same in other words"
        raise ConfigError(f"`{shown_path(file.path)}` has lock_version {version}, which is not known", hint=hint)
    packages = [_package(entry, metadata, file) for entry in document.get("package", ())]
    needs = [each.need for each in project_dependencies(file.path.with_name("pyproject.toml"), file.parts)]
    return LockGraph(file.path, packages, target, again="pdm lock").document(needs, without=without)


def _package(entry: Mapping[str, Any], metadata: Mapping[str, Any], file: RequirementsFile) -> LockedPackage:
    name, version = canonicalize_name(entry["name"]), str(entry.get("version", "0"))
    files = entry.get("files") or metadata.get("files", {}).get(f"{entry['name']} {version}", ())
    of_extras = normalized(entry.get("extras", ()))
    return LockedPackage(
        name,
        version,
        tuple(need for line in entry.get("dependencies", ()) if (need := need_of(Requirement(line))).name != name),
        {"name": name, "version": version, **_source(entry, files, version, file)},
        SpecifierSet(entry.get("requires_python", "")),
        Marker(entry["marker"]) if entry.get("marker") else None,
        of_extras,
    )


def _source(entry: Mapping[str, Any], files: Any, version: str, file: RequirementsFile) -> dict[str, Any]:
    if "git" in entry:
        return git_entry(entry["git"], entry["revision"], revision=entry.get("ref"), subdirectory=entry.get("subdirectory"))
    if "url" in entry and files:
        return archive_entry(files, url=entry["url"])
    if "path" in entry:
        path = str(file.path.parent / entry["path"])
        return archive_entry(files, path=path) if files else {"directory": {"path": path}}
    return file_entries(files, version)
