"""Every command line and configuration of README and docs is one that launch takes: words, options and keys exist. Nothing is
executed here; what can be is in tests/e2e/test_pages_are_typed.py."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise, takewhile
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from launcher.cli.main import find_command
from launcher.config.project import SearchPath, shipped_conf
from launcher.config.schema_shape import shape_at
from launcher.errors import LaunchError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/guides").glob("*.md"))]

_LINE = re.compile(r"(?:\$ )?(?:[A-Z_]+=\S+ )*(launch\b.*)")
_BETWEEN = {"·", "&&"}
_REDIRECTS = re.compile(r"[0-9]?[<>]|\|")
_HYDRAS_OWN = {("defaults",), ("hydra",)}
_OVERRIDE = re.compile(r"[+~]{0,2}([\w.]+)(?:@\S+)?=")


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is fenced, or indented by four."""
    is_fenced = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        line = line.removeprefix("$ ")
        if line.lstrip().startswith("```"):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            yield number, line.strip()


def documented_commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Number of a line and the words behind `launch` of a command on it, without those that stand for more (`…`)."""
    for number, line in blocks(page):
        found = _LINE.fullmatch(line)
        words = shlex.split(found[1], comments=True) if found else []
        while words:
            command = list(takewhile(lambda word: word not in _BETWEEN, words))
            words = words[len(command) + 1 :]
            assert "launch" == command.pop(0), f"{page.name}:{number}"
            yield number, [word for word in takewhile(lambda word: not _REDIRECTS.match(word), command) if word != "…"]


def wrong_keys(words: list[str]) -> Iterator[str]:
    """Overrides of a launch whose key is none of an experiment's. What follows an option may be its value (`--build-arg A=b`)."""
    groups = SearchPath((shipped_conf(),)).groups()
    for before, word in pairwise(["", *takewhile(lambda word: word != "--", words)]):
        found = _OVERRIDE.match(word)
        if found and not before.startswith("-") and found[1] not in groups and shape_at(found[1].split(".")) is None:
            yield word


def documented_configurations(page: Path) -> Iterator[dict[str, Any]]:
    for found in re.finditer(r"^( *)```yaml\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL):
        document = yaml.safe_load(dedent(found[2]))
        assert isinstance(document, dict), found[0]
        yield document


def unknown_keys(value: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    if path in _HYDRAS_OWN:
        return
    if path and shape_at(path) is None:
        yield ".".join(path)
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from unknown_keys(below, (*path, str(key)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_key_of_a_configuration_on_a_page_is_known(page: Path) -> None:
    assert [] == [key for document in documented_configurations(page) for key in unknown_keys(document)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_command_line_of_a_page_is_taken(page: Path) -> None:
    wrong = []
    for number, words in documented_commands(page):
        try:
            command, rest = find_command(words)
            if command.parses:
                command.parse(rest)
        except LaunchError as error:
            wrong.append(f"{page.name}:{number}: launch {shlex.join(words)}: {error}")
        wrong += [f"{page.name}:{number}: `{word}`" for word in wrong_keys(words)]
    assert [] == wrong


def test_the_pages_have_commands() -> None:
    assert 150 < sum(1 for page in PAGES for _ in documented_commands(page))
