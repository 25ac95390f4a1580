"""Indexes that only a project's own uv settings name (`[[tool.uv.index]]`, `[tool.uv.sources]` in its pyproject.toml).

The resolver runs in the project and reads them; the download does not, since a plan is built away from it. So the open ones
become index options, and a package that is bound to an index by its source is downloaded by its address.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.errors import ConfigError
from launcher.plan.requirements.pylock import normal_name


@dataclass(frozen=True, slots=True)
class ProjectIndexes:
    options: tuple[tuple[str, str], ...] = ()
    """(`index-url` | `extra-index-url`, address), as in a requirements file."""
    bound: frozenset[str] = frozenset()
    """Normalised names of packages that `[tool.uv.sources]` takes from a named index."""


def project_indexes(project: Path) -> ProjectIndexes:
    """What the pyproject.toml beside (or named by) *project* says about indexes."""
    import tomllib

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
    bound = frozenset(normal_name(name) for name, source in settings.get("sources", {}).items() if _names_an_index(source))
    return ProjectIndexes(options, bound)


def _names_an_index(source: Any) -> bool:
    """A source is a table, or a list of tables with markers."""
    return any("index" in each for each in (source if isinstance(source, list) else [source]) if isinstance(each, dict))
