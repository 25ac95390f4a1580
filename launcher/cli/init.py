"""`launch init`: a project of one's own from nothing, or an experiment for a repository that is there. Nothing is overwritten."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli import render
from launcher.config.project import BESIDE, init_project, is_of_another_program
from launcher.errors import ConfigError

if TYPE_CHECKING:
    from launcher.repository.experiment_file import Findings


def init(directory: Path, name: str | None, *, command: tuple[str, ...] | None) -> int:
    """An empty or new *directory* becomes a project; one with files is read, and gets one experiment that runs *command*."""
    if command == ():
        raise ConfigError("no command after `--`", hint="write it as `launch init -- python3 train.py`")
    if not _has_files(directory):
        if command is not None:
            raise ConfigError(f"`{directory}` has no files that a command could start")
        for path in init_project(directory):
            print(path)
        render.say(f"\nnext: cd {directory} && launch list")
        return 0
    name = name or _name_of(directory)
    target = _conf_of(directory) / "experiment" / f"{name}.yaml"
    if target.exists():
        raise ConfigError(f"`{target}` is there already", hint=f"`launch plan experiment={name}`, or `--name` for another one")
    found = _survey(directory, name, command)
    _write(target, found)
    print(target)
    _tell(found, directory)
    return 0


def _has_files(directory: Path) -> bool:
    """Whether there is anything but hidden files, a README and a licence: what a new repository begins with."""
    if not directory.exists():
        return False
    if not directory.is_dir():
        raise ConfigError(f"`{directory}` is not a directory")
    begun = re.compile(r"\.|README|LICEN[CS]E", re.IGNORECASE)
    return any(not begun.match(name) for name in os.listdir(directory))


def _name_of(directory: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", directory.resolve().name).strip("-.") or "experiment"


def _conf_of(directory: Path) -> Path:
    """`conf/`, unless that is the configuration of the repository's own program."""
    conf = directory / "conf"
    return directory / BESIDE if conf.is_dir() and is_of_another_program(conf) else conf


def _survey(directory: Path, name: str, command: tuple[str, ...] | None) -> Findings:
    from launcher.repository.survey import survey
    from runtime.gpu.nvidia.proc_driver import count_gpus

    return survey(directory, name, stated=command, environ=os.environ, gpus=count_gpus())


def _write(target: Path, found: Findings) -> None:
    from launcher.repository.experiment_file import experiment_text

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(experiment_text(found))
    except OSError as error:
        raise ConfigError(f"cannot write `{target}`: {(error.strerror or str(error)).lower()}") from error


def _tell(found: Findings, directory: Path) -> None:
    """What was found, and what was not."""
    command, environment = found.command, found.environment
    if command is not None:
        render.say(f"  command  {command.text}   ({command.where})")
    stated = environment.dockerfile or environment.requirements
    if stated:
        render.say(f"  image    {stated if isinstance(stated, str) else ', '.join(stated)}   ({environment.why})")
    for each in found.needs_network:
        render.say(f"  fetches  {each.call} ({each.where}): {each.service.name}; needs a network")
    for doubt in found.doubts:
        render.say(f"  not decided: {doubt}")
    cd = "" if directory.resolve() == Path.cwd() else f"cd {directory} && "
    if command is None:
        render.say("\nnext: write what starts the program to `command` in that file")
    else:
        render.say(f"\nnext: {cd}launch experiment={found.name}")
