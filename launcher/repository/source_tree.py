"""The files of a repository as values: their texts and syntax trees, and which modules are its own. Nothing of it is executed."""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path, PurePosixPath

from launcher.plan.code.code_snapshot import list_code

_LARGEST_READ = 2_000_000
_DOCUMENTS = (".md", ".rst", ".txt")


class SourceTree:
    """What git tracks or does not ignore below *root*."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self.root = root
        self.files = tuple(list_code(os.path.realpath(root), environ=environ))
        self._known = frozenset(self.files)
        self.module = cache(self._parse)

    def has(self, path: str) -> bool:
        return path in self._known

    def has_directory(self, path: str) -> bool:
        return path.rstrip("/") in self._directories

    @cached_property
    def _directories(self) -> frozenset[str]:
        return frozenset(str(parent) for file in self.files for parent in PurePosixPath(file).parents) - {"."}

    def text(self, path: str) -> str:
        """Of a file that is no text, is too large or can't be read: nothing."""
        try:
            if (self.root / path).stat().st_size > _LARGEST_READ:
                return ""
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _parse(self, path: str) -> ast.Module | None:
        """The syntax tree of a Python file; None of one in another Python's syntax."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return ast.parse(self.text(path))
            except (SyntaxError, ValueError, RecursionError):
                return None

    @cached_property
    def python(self) -> tuple[str, ...]:
        return tuple(path for path in self.files if path.endswith(".py"))

    @cached_property
    def documents(self) -> tuple[str, ...]:
        """READMEs first, the one at the top before all."""
        found = [path for path in self.files if path.lower().endswith(_DOCUMENTS) and _is_read_by_people(path)]
        return tuple(sorted(found, key=lambda path: (not _is_readme(path), path.count("/"), path)))

    @cached_property
    def shell_scripts(self) -> tuple[str, ...]:
        return tuple(sorted((path for path in self.files if path.endswith((".sh", ".bash"))), key=lambda path: path.count("/")))

    def place(self, path: str, at: int) -> str:
        """`FILE:LINE` of the character *at* of the text of *path*."""
        return f"{path}:{self.text(path)[:at].count(chr(10)) + 1}"

    def module_in(self, place: str, name: str) -> str | None:
        """The file of the module *name*, looked for in the directory *place*."""
        below = os.path.join(place, name.replace(".", "/"))
        return next((path for path in (f"{below}.py", f"{below}/__init__.py") if self.has(path)), None)

    def is_local(self, name: str, beside: str) -> bool:
        """Whether the top-level module *name* is the repository's own."""
        places = (os.path.dirname(beside), "", "src")
        return any(self.module_in(place, name) or self.has_directory(os.path.join(place, name)) for place in places)


def _is_readme(path: str) -> bool:
    return os.path.basename(path).lower().startswith("readme")


def _is_read_by_people(path: str) -> bool:
    return _is_readme(path) or path.startswith(("docs/", "doc/", "INSTALL")) or (path.count("/") == 0 and path.endswith(".md"))


def calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def dotted(node: ast.expr) -> str:
    """`torch.hub.load` of the expression that says so; of any other what can be said: `.from_pretrained`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def literal(node: ast.expr | None) -> object:
    """The value of a constant; None of anything that has to be worked out."""
    try:
        return None if node is None else ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return None
