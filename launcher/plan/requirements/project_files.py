"""Which files of a project's directory its metadata and its build can depend on.

An editable package is a pointer to its sources, so an edit of a module must not build it again; an edit of what the build reads
must. That is what a build reads by itself (pyproject.toml, the README, sources of extensions) and what those files name: a module
that holds the version, a list of requirements. A build sees nothing else (`InstallTree.contents`), so a rule that is too narrow
shows in its failure and never in a stale layer.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

BUILD_FILES = ("pyproject.toml", "setup.py", "setup.cfg", "hatch_build.py", "MANIFEST.in")

_TEXTS = (".toml", ".cfg", ".ini", ".in", ".txt", ".md", ".rst")
_WORDS = ("readme", "license", "licence", "copying", "notice", "authors", "version")
_COMPILED = re.compile(
    r".*\.(c|cc|cpp|cxx|cu|cuh|h|hh|hpp|hxx|inc|s|asm|pyx|pxd|pxi|rs|f|f90|f95|for|go|zig|i|l|y|proto|cmake)", re.IGNORECASE
)
_BUILD_LANGUAGES = ("CMakeLists.txt", "Makefile", "meson.build", "meson.options", "meson_options.txt", "Cargo.toml", "Cargo.lock")
_QUOTED = re.compile(r"[\"']([^\"'\s]+)[\"']")
_ATTRIBUTE = re.compile(r"\battr\s*[=:]\s*[\"']?([\w.]+)")
_IMPORT = re.compile(r"^\s*(?:from|import)\s+([\w.]+)", re.MULTILINE)


def build_texts(directory: Path) -> dict[str, str]:
    """Name → text of the files in *directory* that say how it is built."""
    texts = {}
    for name in BUILD_FILES:
        try:
            texts[name] = (directory / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
    return texts


def metadata_texts(directory: Path) -> list[tuple[str, str]]:
    """(name, text) of all that a project's dependencies can depend on, in a fixed order."""
    texts = build_texts(directory)
    named = sorted({name for text in texts.values() for name in _QUOTED.findall(text) if name.endswith((".txt", ".in", ".toml"))})
    for name in named:
        try:
            texts.setdefault(name, (directory / name).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return list(texts.items())


def read_by_build(paths: Iterable[str], texts: Mapping[str, str]) -> tuple[str, ...]:
    """Those of *paths*, all below the project's directory, whose content its build can read. *texts* are its `build_texts`."""
    quoted = {posixpath.normpath(word) for text in texts.values() for word in _QUOTED.findall(text)}
    modules = {name for text in texts.values() for name in _ATTRIBUTE.findall(text)}
    imported = {name.partition(".")[0] for name in _IMPORT.findall(texts.get("setup.py", ""))}
    pyproject = texts.get("pyproject.toml", "")
    folders = tuple("" if word == "." else f"{word}/" for word in quoted) if "backend-path" in pyproject else ()
    return tuple(
        path
        for path in paths
        if _is_read_by_itself(path)
        or path in quoted
        or posixpath.basename(path) in quoted
        or (path.endswith(".py") and _is_module_of(path, modules, imported))
        or ("flit" in pyproject and path.endswith("__init__.py"))
        or _is_of_the_backend(path, folders)
    )


def _is_of_the_backend(path: str, folders: Iterable[str]) -> bool:
    """Whether *path* is below one of the *folders* that hold a project's own backend; in the project's directory, beside it."""
    return any(path.startswith(folder) if folder else "/" not in path and path.endswith(".py") for folder in folders)


def stays_editable(texts: Mapping[str, str]) -> bool:
    """Whether an editable package of these `build_texts` works where its build directory is not: meson-python's builds itself
    again when it is imported, so it is installed as a wheel instead."""
    return "mesonpy" not in texts.get("pyproject.toml", "")


def version_description(directory: Path, texts: Mapping[str, str]) -> str:
    """The text of `.git_archival.txt` for a project in *directory*, with these `build_texts`, that asks git for its version; else
    ""."""
    from runtime.build.wheels.git_version import COMMIT_AND_DATE, DESCRIBE, description_text, takes_version_from_git

    if not takes_version_from_git(texts.values()):
        return ""
    from launcher.plan.code.git_calls import GitCall

    try:
        calls = [GitCall(words, directory=os.fspath(directory)) for words in (DESCRIBE, COMMIT_AND_DATE)]
    except (FileNotFoundError, PermissionError):
        return ""
    described, commit = (call.output() for call in calls)
    return description_text(described.decode(), commit.decode()) if described and commit else ""


def _is_read_by_itself(path: str) -> bool:
    name = posixpath.basename(path)
    if name in BUILD_FILES or name in _BUILD_LANGUAGES or _COMPILED.fullmatch(path):
        return True
    return "/" not in path and (name.endswith(_TEXTS) or (name.lower().startswith(_WORDS) and not name.endswith(".py")))


def _is_module_of(path: str, attributes: Iterable[str], imported: Iterable[str]) -> bool:
    """Whether *path* is the module of an attribute (`attr = "pkg.version.__version__"`) or of an import of setup.py."""
    module = path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if module.partition(".")[0] in imported:
        return True
    return any(module in (name, name.rpartition(".")[0]) for name in attributes)
