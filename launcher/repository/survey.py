"""Read a repository for `launch init`: its environment, its likeliest command, and what that fetches, prints and needs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.plan.code.left_out import find_left_out
from launcher.repository.downloads import find_downloads
from launcher.repository.environments import read_environment
from launcher.repository.experiment_file import Findings
from launcher.repository.imports import Imports
from launcher.repository.printed_metrics import find_printed_metrics
from launcher.repository.program_options import find_parameters
from launcher.repository.source_tree import SourceTree
from launcher.repository.start_commands import StartCommand, find_commands, read_command

_EVENT_FILES = re.compile(r"SummaryWriter\(|TensorBoardLogger\b|TensorBoard\(|tf\.summary\.")
_GPU = re.compile(r"\.cuda\(|torch\.device\(.?cuda|[\"']cuda(?::\d)?[\"']|accelerator\s*=\s*[\"'](?:gpu|cuda)")
_CLEARLY = 3.0
"""By so much the best command must be better than the next script's, or both are named as a doubt."""


def survey(directory: Path, name: str, *, environ: Mapping[str, str], gpus: int, stated: Sequence[str] | None = None) -> Findings:
    """What is found in *directory*, for the experiment *name* on a machine with *gpus* GPUs. *stated*: its command, as typed."""
    tree = SourceTree(directory, environ)
    commands = find_commands(tree) if stated is None else (read_command(tree, stated),)
    command = commands[0] if commands and commands[0].score > 0 else None
    imports = None
    if command is not None:
        imports = Imports(tree, command.script, command.cwd if "-m" in command.words else None, command.words)
    files = tuple(imports.files) if imports is not None else tree.python
    configurations = tuple(imports.configurations) if imports is not None else ()
    environment = read_environment(tree, imports)
    found = Findings(
        name=name,
        description=_description(tree, name),
        environment=environment,
        command=command,
        parameters=find_parameters(tree, files, command),
        other_commands=[each for each in commands[1:] if each.score > 0 or each.prepares] if command else commands,
        downloads=find_downloads(tree, files),
        metrics=find_printed_metrics(tree, files),
        tensorboard=_first(tree, (*files, *configurations), _EVENT_FILES),
        left_out=find_left_out(os.path.realpath(directory), tree.files, environ=environ),
        gpus=gpus,
        uses_gpus=_first(tree, files, _GPU),
        set_variables=frozenset(environ),
        doubts=list(environment.doubts),
    )
    found.doubts += _doubts(tree, found, commands)
    return found


def _doubts(tree: SourceTree, found: Findings, commands: tuple[StartCommand, ...]) -> list[str]:
    """What a person has to look at."""
    doubts = []
    command = found.command
    if command is None:
        what = "a notebook" if any(file.endswith(".ipynb") for file in tree.files) else "no command in a README or script"
        doubts.append(f"what starts the program: {what}, and no Python file that looks like training")
        return doubts
    rival = next((each for each in commands[1:] if each.script != command.script), None)
    if rival is not None and command.score - rival.score < _CLEARLY:
        doubts.append(f"which program is meant: `{rival.text}` ({rival.where}) looks as likely")
    if not command.is_whole:
        doubts.append(f"values in `{command.text}`: the command has places to fill in")
    prepares = next((each for each in commands if each.prepares and each.script != command.script), None)
    if prepares is not None:
        doubts.append(
            f"whether its data is there: `{prepares.text}` ({prepares.where}) may have to run before, here or as a run of its own"
        )
    if not found.environment.requirements and found.environment.dockerfile is None:
        doubts.append("what it needs: there is no statement of an environment, and no import is known")
    if private := _private_index(tree, found.environment.requirements):
        doubts.append(
            f"{private} names an index of its own: a login for it comes from pip's or uv's settings here, never from the image"
        )
    return doubts


def _private_index(tree: SourceTree, stated: str | list[str]) -> str | None:
    file = stated if isinstance(stated, str) else next((each[3:] for each in stated if each.startswith("-r ")), "")
    for number, line in enumerate(tree.text(file).splitlines() if tree.has(file) else (), 1):
        if re.match(r"\s*(?:-i|--(?:extra-)?index-url)\b", line) and "download.pytorch.org" not in line:
            return f"{file}:{number}"
    return None


def _first(tree: SourceTree, files: tuple[str, ...], pattern: re.Pattern[str]) -> str | None:
    """`FILE:LINE` of the first place that fits."""
    for path in files:
        if found := pattern.search(tree.text(path)):
            return tree.place(path, found.start())
    return None


def _description(tree: SourceTree, name: str) -> str:
    """The first sentence of the README that is one."""
    for path in tree.documents[:1]:
        for line in tree.text(path).splitlines():
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[*_`]|<[^>]*>", r"\1", line).strip()
            if re.match(r"[A-Z]", plain) and len(plain.split()) > 3 and not line.lstrip().startswith(("#", "!", "[!", "|", "<")):
                sentence = re.split(r"(?<=[.!?])\s", plain)[0]
                return sentence if len(sentence) <= 100 else f"{sentence[:97]}..."
    return name
