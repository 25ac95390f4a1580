"""How a repository's program is started: by the commands in its README and scripts, else by the scripts that can be executed.

Each command is judged by what it is likely to be: training before testing, whole before half-written (`<path>`, `$DATA`).
"""

from __future__ import annotations

import ast
import math
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from launcher.errors import ConfigError
from launcher.repository.source_tree import SourceTree
from runtime.suggestions import did_you_mean

_PROMPT = re.compile(r"^\s*(?:[$>!%]\s*|\(\w+\)\s*\$?\s*|[-*]\s+)?`{0,3}")
_ASSIGNED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=\S*")
_RUNNERS = {("uv", "run"), ("poetry", "run"), ("pipenv", "run"), ("pdm", "run"), ("hatch", "run"), ("pixi", "run")}
_BEFORE = {"sudo", "time", "nohup", "srun", "exec"}
_STARTERS = re.compile(
    r"(?:python[\d.]*|torchrun|accelerate|deepspeed|uv|poetry|pipenv|pdm|hatch|pixi|sudo|time|nohup|srun|exec)\b"
)
_SHELLS = (("sh", "-c"), ("bash", "-c"))
_ENDS = {"&&", ";", "|", "||", "&", ">", ">>", "2>", "2>&1", "<", "#"}
_PLACEHOLDER = re.compile(
    r"<[^>]+>|\$|\.\.\.|…|/path/to|\bpath/to|(?i:\b(?:your|my|some)_)|_name\b|\{[^}]*\}|\[[A-Z_]+\]|^[A-Z][A-Z_]{3,}$"
)
_RANKS = re.compile(r"--n(?:proc[_-]per[_-]node|um_processes|um_gpus)(?:=|$)")

_TRAINS = re.compile(r"train|finetune|fine_tune|pretrain|fit\b|learn")
_RUNS = re.compile(r"^(?:main|run|experiment|start)")
_OTHER = re.compile(
    r"prepar|preproc|download|eval|test|sampl|generat|infer|predict|demo|plot|visual|conver|export|setup|serv|app\b|bench|score|"
    r"make_|build_|create_|crop|merge|upload|check|stat|utils?\b|conftest"
)
_PREPARES = re.compile(r"prepar|preproc|download|tokeniz|make_data|build_data|get_data")


class StartCommand(NamedTuple):
    """A command, where it was found, and how likely it is the one that trains."""

    words: tuple[str, ...]
    script: str
    """Its file."""
    where: str
    """`README.md:41`, or the script itself."""
    score: float
    cwd: str = ""
    """Below the top of the repository."""

    @property
    def text(self) -> str:
        return shlex.join(self.words)

    @property
    def is_whole(self) -> bool:
        return not any(map(is_placeholder, self.words))

    @property
    def prepares(self) -> bool:
        """Whether it makes the data that another command reads."""
        return bool(_PREPARES.search(self.script.lower()))

    @property
    def launcher(self) -> str | None:
        """What starts several ranks: torchrun, accelerate, deepspeed; also by its module."""
        first = self.words[0]
        if first in ("torchrun", "accelerate", "deepspeed"):
            return first
        return "torch.distributed" if any(word.startswith("torch.distributed") for word in self.words[:4]) else None


def find_commands(tree: SourceTree) -> tuple[StartCommand, ...]:
    """The likeliest first, one a script and its options."""
    found: dict[tuple[str, ...], StartCommand] = {}
    documents = ((path, 10.0 - 2 * (path.count("/") > 0)) for path in tree.documents)
    for path, base in (*documents, *((path, 6.0) for path in tree.shell_scripts)):
        for order, command in enumerate(_commands_in(tree, path, base)):
            judged = command._replace(score=command.score - 0.1 * order)
            if judged.words not in found:
                found[judged.words] = judged
    for command in _scripts(tree):
        if all(command.script != other.script for other in found.values()):
            found[command.words] = command
    return tuple(sorted(found.values(), key=lambda command: -command.score))


def read_command(tree: SourceTree, typed: Sequence[str]) -> StartCommand:
    """The command that a person states. Raises ConfigError for one that starts no file of *tree*, or does more than that."""
    text = typed[2] if len(typed) == 3 and tuple(typed[:2]) in _SHELLS else shlex.join(typed)
    place, line = _entered(tree, "", text.strip())
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ConfigError(f"`{text}` is no command: {str(error).lower()}") from error
    if of_shell := next((word for word in words if word in _ENDS), None):
        raise ConfigError(
            f"`{of_shell}` in `{text}`: one program is read, after a `cd` at most",
            hint='write `command: [sh, -c, "..."]` to the file that `launch init` writes for the program alone',
        )
    variables = list(takewhile(_ASSIGNED.fullmatch, words))
    words = [*(["env", *variables] if variables else []), *_simple(words)]
    script = _script_of(tree, words, place)
    if script is None:
        named = next((word for word in words if word.endswith(".py")), "")
        raise ConfigError(
            f"`{text}` starts no Python file of this repository", hint=did_you_mean(os.path.join(place, named), tree.python)
        )
    return StartCommand(tuple(words), script, "as typed", math.inf, place)


def _commands_in(tree: SourceTree, path: str, base: float) -> Iterator[StartCommand]:
    cwd = ""
    for number, line in _whole_lines(tree.text(path)):
        cwd, line = _entered(tree, cwd, _PROMPT.sub("", line).partition("`")[0])
        line = re.sub(r"^(?:[A-Za-z_][A-Za-z0-9_]*=\S*\s+)+", "", line)
        if not _STARTERS.match(line):
            continue
        command = _read(tree, line, f"{path}:{number}", base, cwd)
        if command is not None:
            yield command


def _entered(tree: SourceTree, cwd: str, line: str) -> tuple[str, str]:
    """The directory in which *line* goes on after its `cd`, and what follows that."""
    entered = re.match(r"cd\s+([\w./-]+)\s*(?:&&\s*)?(.*)$", line)
    if entered is None:
        return cwd, line
    below = os.path.normpath(os.path.join(cwd, entered[1]))
    return below if tree.has_directory(below) else "", entered[2]


def _whole_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; one that ends in a backslash goes on in the next."""
    begun, begun_at = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        begun_at = begun_at if begun else number
        stripped = line.rstrip()
        if stripped.endswith("\\"):
            begun += stripped[:-1] + " "
            continue
        yield begun_at, begun + stripped
        begun = ""


def _read(tree: SourceTree, line: str, where: str, base: float, cwd: str) -> StartCommand | None:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None
    words = _simple(words)
    if not words:
        return None
    said = dict.fromkeys((cwd, os.path.dirname(where.partition(":")[0]), ""))
    for place in (*said, *_places_of(tree, words)):
        script = _script_of(tree, words, place)
        if script is not None:
            guessed = 0.0 if place in said else -1.0
            return StartCommand(tuple(words), script, where, base + guessed + _likelihood(script, words, tree), place)
    return None


def _places_of(tree: SourceTree, words: list[str]) -> list[str]:
    """The one directory in which there is a script of that name: a README speaks from there at times."""
    named = next((word for word in words if word.endswith(".py")), None)
    found = [path for path in tree.python if named is not None and path.endswith(f"/{named}")]
    return [found[0][: -len(named) - 1]] if named is not None and len(found) == 1 else []


def _simple(words: list[str]) -> list[str]:
    """The first command of the line, without what stands before the interpreter."""
    for at, word in enumerate(words):
        if word in _ENDS or word.endswith(";"):
            words = [*words[:at], word.rstrip(";")] if word.endswith(";") and len(word) > 1 else words[:at]
            break
    while words:
        if words[0] in _BEFORE or _ASSIGNED.fullmatch(words[0]):
            words = words[1:]
        elif tuple(words[:2]) in _RUNNERS:
            words = words[2:]
        else:
            break
    if words and re.fullmatch(r"python[\d.]*", words[0]):
        return ["python3", *words[1:]]
    return ["python3", *words] if words and words[0].endswith(".py") else words


def _script_of(tree: SourceTree, words: list[str], place: str) -> str | None:
    """The Python file that *words* start in the directory *place*."""
    at = 0
    while at < len(words):
        word = words[at]
        if word == "-m" and at + 1 < len(words) and not words[at + 1].startswith(("torch.distributed", "accelerate")):
            return _module_file(tree, words[at + 1], place)
        path = os.path.normpath(os.path.join(place, word))
        if word.endswith(".py") and tree.has(path):
            return path
        if word.endswith(".py") or (word in ("-c", "--help", "-h")):
            return None
        at += 1
    return None


def _module_file(tree: SourceTree, name: str, place: str) -> str | None:
    below = name.replace(".", "/")
    for prefix in dict.fromkeys((place, "", "src")):
        for path in (f"{below}.py", f"{below}/__main__.py"):
            found = f"{prefix}/{path}" if prefix else path
            if tree.has(found):
                return found
    return None


def is_placeholder(word: str) -> bool:
    """Whether *word* stands for what the reader has: `<path>`, `$DATA`."""
    return _PLACEHOLDER.search(word) is not None


def _likelihood(script: str, words: list[str], tree: SourceTree) -> float:
    name = os.path.basename(script).lower()
    score = 0.0
    if _TRAINS.search(name):
        score += 6
    elif _RUNS.search(name):
        score += 3
    elif _TRAINS.search(script.lower()):
        score += 2
    if _OTHER.search(name):
        score -= 8
    if any(part in ("test", "tests", "docs", "third_party", "tools", "scripts") for part in script.split("/")[:-1]):
        score -= 2
    score -= 3 * tree.has(f"{os.path.dirname(script)}/__init__.py")
    score -= 5 * any(map(is_placeholder, words))
    score -= 20 * any(word in ("--help", "-h", "install", "--install") for word in words)
    score -= 3 * any(_RANKS.match(word) for word in words)
    score += 4 * any(
        re.search(r"(?:device|accelerator|trainer)[= ]?cpu", f"{word} {after}")
        for word, after in zip(words, [*words[1:], ""], strict=True)
    )
    score += sum(0.5 for word in words[1:] if "." in word and tree.has(word) and word != script)
    return score - 0.5 * script.count("/") - 0.05 * len(words)


def _scripts(tree: SourceTree) -> Iterator[StartCommand]:
    """Python files that say what happens when they are executed."""
    for path in tree.python:
        parsed = tree.module(path)
        if parsed is None or os.path.basename(path).startswith(("test_", "conftest", "setup.py", "__")):
            continue
        score = _likelihood(path, [path], tree)
        text = tree.text(path)
        if "__main__" in text or "ArgumentParser" in text:
            yield StartCommand(("python3", path), path, path, score + 3)
        elif any(not _only_defines(node) for node in parsed.body):
            yield StartCommand(("python3", path), path, path, score + (1 if path.count("/") == 0 else 0.4))


def _only_defines(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    plain = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.If)
    return isinstance(node, (*plain, ast.Try))
