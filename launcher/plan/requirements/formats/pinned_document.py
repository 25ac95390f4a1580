"""A file that pins everything itself (uv.lock, poetry.lock, pdm.lock, pylock.toml) as a document of PEP 751."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from packaging.utils import canonicalize_name

from launcher.errors import ConfigError, Origin
from launcher.plan.origins import shown_path
from launcher.plan.requirements.formats.requirements_file import Kind, RequirementsFile, damage_told
from launcher.plan.requirements.formats.toml_file import read_toml
from launcher.plan.requirements.pylock import with_absolute_paths
from launcher.plan.requirements.target import Target
from runtime.errors import ToolFailed

_EXPORT = ("export", "--frozen", "--format", "pylock.toml", "--no-dev")


def pinned_document(
    file: RequirementsFile, target: Target, *, without: Collection[str] = (), uv: Callable[[Sequence[str]], str]
) -> dict[str, Any]:
    """What *target* needs of *file*, without the packages that *without* names, and where the file says who needs whom, without
    what only those need. *uv* runs uv and gives its output."""
    with damage_told(file):
        return _pinned_document(file, target, without, uv)


def _pinned_document(
    file: RequirementsFile, target: Target, without: Collection[str], uv: Callable[[Sequence[str]], str]
) -> dict[str, Any]:
    match file.kind:
        case Kind.POETRY:
            from launcher.plan.requirements.formats.poetry_lock import read_poetry_lock

            return _with_own_package(file, read_poetry_lock(file, target, without=without))
        case Kind.PDM:
            from launcher.plan.requirements.formats.pdm_lock import read_pdm_lock

            return _with_own_package(file, read_pdm_lock(file, target, without=without))
        case Kind.UV:
            import tomllib

            prune = [word for name in without for word in ("--prune", name)]
            try:
                said = uv([*_EXPORT, *file.parts.uv_words(), *prune])
            except ToolFailed as error:
                read_toml(file.path)  # what is no TOML is told in our words
                raise ConfigError(f"`{shown_path(file.path)}` can't be used: {error.words}", hint=error.hint) from error
            return with_absolute_paths(tomllib.loads(said), file.path.parent)
    document = read_toml(file.path)
    packages = document.get("packages")
    if not isinstance(packages, list):
        hint = "a requirements.txt, pyproject.toml, uv.lock, poetry.lock, pdm.lock or pylock.toml can be read"
        message = f"`{shown_path(file.path)}` is no pylock.toml (PEP 751): it has no `packages`"
        raise ConfigError(message, hint=hint, origin=Origin(file=str(file.path)))
    kept = [package for package in packages if canonicalize_name(package.get("name", "")) not in without]
    return with_absolute_paths({**document, "packages": kept}, file.path.parent)


def _with_own_package(file: RequirementsFile, document: dict[str, Any]) -> dict[str, Any]:
    """*document* with the project's own package, as `poetry install` and `pdm install` have it, where it has one."""
    root = file.path.parent
    project = read_toml(root / "pyproject.toml")
    poetry, pdm = (project.get("tool", {}).get(tool, {}) for tool in ("poetry", "pdm"))
    name = project.get("project", {}).get("name") or poetry.get("name")
    if not name or "build-system" not in project or poetry.get("package-mode") is False or pdm.get("distribution") is False:
        return document
    module = canonicalize_name(name).replace("-", "_")
    if not poetry.get("packages") and not any((root / place / module).is_dir() for place in (".", "src")):
        return document  # what was never meant to be installed has no directory of its name
    own = {"name": canonicalize_name(name), "directory": {"path": str(root), "editable": True}}
    return {**document, "packages": [*document["packages"], own]}
