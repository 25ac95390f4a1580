"""What a program imports, over all of the repository's own modules that it reaches, and which distributions bring that."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from launcher.repository.distributions import DISTRIBUTIONS, PARTS
from launcher.repository.source_tree import SourceTree

_CHOICE = re.compile(r"\+{0,2}([\w/]+)=([\w-]+)")
_TARGET = re.compile(r"^\s*_target_:\s*[\"']?([\w.]+)", re.MULTILINE)


class Imports:
    """The modules that the program *script* reaches; Python looks for them in *place* first, the script's directory mostly.
    *words* choose files of a Hydra program's configuration, and those name classes."""

    def __init__(self, tree: SourceTree, script: str, place: str | None = None, words: Sequence[str] = ()) -> None:
        self._tree = tree
        self._place = os.path.dirname(script) if place is None else place
        self.files: list[str] = []
        """Of the repository: *script* and what it imports."""
        self.elsewhere: dict[str, str] = {}
        """Directory in which modules of the repository lie that Python would not find from *place* → one of them."""
        self.needed: dict[str, str] = {}
        """Top-level module that is not the repository's → `FILE:LINE` where it is imported without a way out."""
        self.configurations = [path for word in words for path in _chosen(tree, word)]
        self._read(script)
        for path in self.configurations:
            for found in _TARGET.finditer(tree.text(path)):
                line = tree.text(path)[: found.start(1)].count("\n") + 1
                self._followed(_Import(found[1], line, always=True), path)

    def _read(self, script: str) -> None:
        waiting = [script]
        while waiting:
            path = waiting.pop(0)
            parsed = None if path in self.files else self._tree.module(path)
            if parsed is None:
                continue
            self.files.append(path)
            for found in _imported(parsed):
                waiting += self._followed(found, path)

    def _followed(self, found: _Import, path: str) -> list[str]:
        """The files of the repository that *found*, in *path*, reaches; what is not the repository's is noted."""
        top = found.module.partition(".")[0]
        beside = os.path.dirname(path)
        if found.is_relative:
            return [each for name in (found.module, top) if (each := self._tree.module_in(beside, name))][:1]
        noted = self.needed if found.always else {}  # in a function, or below `try`: there is a way out
        if part := next((name for name in PARTS if f"{found.module}.".startswith(f"{name}.")), None):
            noted.setdefault(part, f"{path}:{found.line}")
        for place in self._places(beside):
            parent = found.module.rpartition(".")[0]
            local = next(
                (each for name in (found.module, parent, top) if name and (each := self._tree.module_in(place, name))), None
            )
            if local is not None or self._tree.has_directory(os.path.join(place, top)):
                if place != self._place:
                    self.elsewhere.setdefault(place, top)
                return [local] if local is not None else []
        if top not in sys.stdlib_module_names:
            noted.setdefault(top, f"{path}:{found.line}")
        return []

    def _places(self, beside: str) -> Iterator[str]:
        """Where a module that is imported in directory *beside* may lie.

        A neighbour in a package is not meant: `import torch` in one that has a torch.py of its own is PyTorch.
        """
        neighbours = () if self._tree.has(os.path.join(beside, "__init__.py")) else (beside,)
        yield from dict.fromkeys((self._place, *neighbours, "", "src"))

    def distributions(self) -> tuple[list[str], dict[str, str]]:
        """Of what is needed: the distributions that are known, and the modules of which none is."""
        known = sorted({PARTS.get(name) or DISTRIBUTIONS[name] for name in self.needed if name in DISTRIBUTIONS or name in PARTS})
        return known, {name: where for name, where in self.needed.items() if name not in DISTRIBUTIONS and name not in PARTS}


def _chosen(tree: SourceTree, word: str) -> list[str]:
    """What `GROUP=NAME` on a Hydra program's command line takes."""
    choice = _CHOICE.fullmatch(word)
    return [path for path in tree.files if path.endswith(f"/{choice[1]}/{choice[2]}.yaml")] if choice else []


class _Import(NamedTuple):
    module: str
    line: int
    always: bool
    """Whether it is imported whatever happens."""
    is_relative: bool = False


def _imported(parsed: ast.Module) -> Iterator[_Import]:
    waiting: list[tuple[ast.AST, bool]] = [(node, True) for node in parsed.body]
    while waiting:
        node, always = waiting.pop(0)
        if isinstance(node, ast.Import):
            yield from (_Import(alias.name, node.lineno, always) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" if node.module else alias.name for alias in node.names]
            yield from (_Import(name, node.lineno, always, is_relative=node.level > 0) for name in names)
        else:
            inner = always and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Try, ast.ClassDef, ast.If))
            waiting += [(child, inner or _is_main(node)) for child in ast.iter_child_nodes(node)]


def _is_main(node: ast.AST) -> bool:
    """`if __name__ == "__main__":`"""
    return isinstance(node, ast.If) and "__name__" in ast.dump(node.test)
