"""Pipfile.lock as lines of a requirements file: it has versions and hashes, but names no files.

So the index is asked once which files those are; what it has under another hash is left out. Read is `pipfile-spec` 6, the one
in use since 2018. `--group NAME` takes one of its sections beside `default` (`develop`, or one of your own).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from packaging.utils import canonicalize_name

from launcher.errors import ConfigError
from launcher.plan.origins import shown_path
from launcher.plan.requirements.formats.requirements_file import RequirementsFile, damage_told
from runtime.suggestions import did_you_mean


class PipfileLock(NamedTuple):
    lines: tuple[str, ...]
    hashes: dict[str, frozenset[str]]
    """Name → `sha256:…` of the files that may be taken."""


def read_pipfile_lock(file: RequirementsFile) -> PipfileLock:
    """The sections of *file* that are asked for."""
    with damage_told(file):
        return _sections(file, _read(file))


def _sections(file: RequirementsFile, document: Mapping[str, Any]) -> PipfileLock:
    spec = document.get("_meta", {}).get("pipfile-spec")
    if spec != 6:
        raise ConfigError(f"`{shown_path(file.path)}` has pipfile-spec {spec}; 6 can be read", hint="`pipenv lock` writes it")
    lines: dict[str, str] = {}
    hashes: dict[str, frozenset[str]] = {}
    for section in ("default", *file.parts.groups):
        if section not in document:
            known = [name for name in document if name != "_meta"]
            raise ConfigError(f"`{shown_path(file.path)}` has no section `{section}`", hint=did_you_mean(section, known))
        for name, entry in document[section].items():
            lines[name] = _line(name, entry)
            hashes[canonicalize_name(name)] = frozenset(entry.get("hashes", ()))
    return PipfileLock(tuple(lines.values()), hashes)


def _read(file: RequirementsFile) -> dict[str, Any]:
    try:
        document = json.loads(file.path.read_text(encoding="utf-8"))
        if isinstance(document, dict):
            return document
        reason = "it holds no sections"
    except FileNotFoundError:
        raise ConfigError(f"`{shown_path(file.path)}` does not exist") from None
    except ValueError as error:
        reason = str(error)
    except OSError as error:
        reason = error.strerror or str(error)
    raise ConfigError(f"`{shown_path(file.path)}` is no Pipfile.lock: {reason}", hint="`pipenv lock` writes it")


def _line(name: str, entry: Mapping[str, Any]) -> str:
    extras = f"[{','.join(entry['extras'])}]" if entry.get("extras") else ""
    marker = f" ; {entry['markers']}" if entry.get("markers") else ""
    if "git" in entry:
        part = f"#subdirectory={entry['subdirectory']}" if entry.get("subdirectory") else ""
        return f"{name}{extras} @ git+{entry['git'].removeprefix('git+')}@{entry['ref']}{part}{marker}"
    if "path" in entry:
        return ("-e " if entry.get("editable") else "") + str(entry["path"]) + extras
    if "file" in entry:
        return f"{name}{extras} @ {entry['file']}{marker}"
    version = entry.get("version", "*")
    return f"{name}{extras}{'' if version == '*' else version}{marker}"


def with_locked_files(document: Mapping[str, Any], lock: PipfileLock) -> dict[str, Any]:
    """*document* (PEP 751) with those files of each package that *lock* knows by their hash."""
    return {**document, "packages": [_with_locked_files(package, lock.hashes) for package in document.get("packages", ())]}


def _with_locked_files(package: Mapping[str, Any], hashes: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    known = hashes.get(canonicalize_name(package["name"]), frozenset())
    if not known:
        return dict(package)
    files = [file for file in package.get("wheels", ()) if _is_known(file, known)]
    sdist = package.get("sdist")
    kept = {name: value for name, value in package.items() if name not in ("wheels", "sdist")}
    if sdist is not None and _is_known(sdist, known):
        kept["sdist"] = sdist
    if not files and "sdist" not in kept and ("wheels" in package or "sdist" in package):
        hint = "the index serves other files under this version than `pipenv lock` saw"
        raise ConfigError(f"no file of `{package['name']}=={package.get('version')}` has a hash of the Pipfile.lock", hint=hint)
    return {**kept, **({"wheels": files} if files else {})}


def _is_known(file: Mapping[str, Any], known: frozenset[str]) -> bool:
    return any(f"{algorithm}:{digest}" in known for algorithm, digest in file.get("hashes", {}).items())
