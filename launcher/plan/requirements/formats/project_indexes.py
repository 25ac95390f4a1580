"""What the files of a project say about indexes: those of uv, Poetry, PDM and pipenv.

The resolver runs in the project and reads uv's; the download does not, since a plan is built away from it. So they become index
options, and a package that uv binds to an index by its source is downloaded by its address.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from packaging.utils import canonicalize_name

from launcher.plan.requirements.formats.requirements_file import Kind, RequirementsFile
from launcher.plan.requirements.formats.toml_file import read_toml
from runtime.light_dataclasses import dataclass

_PUBLIC = "pypi"
"""What Poetry, PDM and pipenv call the public index: where that is, the user's own settings say."""


@dataclass(frozen=True, slots=True)
class ProjectIndexes:
    options: tuple[tuple[str, str], ...] = ()
    """(`index-url` | `extra-index-url`, address), as in a requirements file."""
    bound: frozenset[str] = frozenset()
    """Normalised names of packages that `[tool.uv.sources]` takes from a named index."""


def project_indexes(file: RequirementsFile) -> ProjectIndexes:
    """The indexes of the project that *file* belongs to, as those look for them who wrote it."""
    if file.kind is Kind.PIPFILE:
        return ProjectIndexes(tuple(_of_pipfile(file)))
    path = file.path.with_name("pyproject.toml")
    tool: dict[str, Any] = read_toml(path).get("tool", {}) if path.exists() else {}
    options = [
        ("index-url" if index.get("default") else "extra-index-url", index["url"])
        for index in tool.get("uv", {}).get("index", ())
        if "url" in index and not index.get("explicit")
    ]
    sources = tool.get("uv", {}).get("sources", {})
    bound = frozenset(canonicalize_name(name) for name, source in sources.items() if _names_an_index(source))
    if not options and not bound:
        options = [*_of_poetry(tool.get("poetry", {})), *_of_pdm(tool.get("pdm", {}))]
    return ProjectIndexes(tuple(options), bound)


def _names_an_index(source: Any) -> bool:
    """A source is a table, or a list of tables with markers."""
    return any("index" in each for each in (source if isinstance(source, list) else [source]) if isinstance(each, dict))


def _of_poetry(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """`[[tool.poetry.source]]`; a primary one (1.x: `default`) takes the place of the public index."""
    for source in settings.get("source", ()):
        if "url" in source and source.get("name", "").lower() != _PUBLIC:
            priority = source.get("priority", "default" if source.get("default") else "supplemental")
            yield "index-url" if priority == "default" else "extra-index-url", source["url"]


def _of_pdm(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """`[[tool.pdm.source]]`; one with the public index's name takes its place."""
    for source in settings.get("source", ()):
        if "url" in source:
            kind = "find-links" if source.get("type") == "find_links" else "extra-index-url"
            yield "index-url" if source.get("name") == _PUBLIC else kind, source["url"]


def _of_pipfile(file: RequirementsFile) -> Iterator[tuple[str, str]]:
    for source in json.loads(file.path.read_text(encoding="utf-8")).get("_meta", {}).get("sources", ()):
        if source.get("name") != _PUBLIC:
            yield "extra-index-url", source["url"]
