"""`launch run --from-dev NAME`: what a container to work in has become, as an experiment.

Its code, which is live, is taken as it is now; what was installed in it by hand, and the last command that launch was given for
it, are values like others. Where they differ from the experiment's file there is a patch for that.
"""

from __future__ import annotations

import difflib
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.cli import render
from launcher.cli.arguments import Request
from launcher.cli.command import Options
from launcher.config.amend import GROUPS
from launcher.config.compose import parse_overrides
from launcher.config.project import list_experiments
from launcher.config.yaml_edit import with_values
from launcher.errors import ConfigError
from launcher.journal.run_journal import read_state
from launcher.run.dev_containers import last_command
from launcher.run.running_runs import living_run
from launcher.run.supervisor.installed_by_hand import find_installed
from launcher.tracking.record.find_runs import find_run
from launcher.tracking.record.run_record import RunRecord
from runtime.light_typing import NamedTuple
from runtime.state_dir import state_dir

PATCH = "experiment.patch"
"""In the directory of a run that was frozen."""


class Frozen(NamedTuple):
    """A container to work in, as an experiment."""

    request: Request
    patch: str
    """As `patch -p1` takes it; empty where nothing differs."""


def freeze(reference: str, options: Options) -> Frozen:
    """What *options* launch from the living container *reference*. Says what differs from the YAML. Raises ConfigError."""
    record = _find_container(reference)
    plan = json.loads(record.run_dir.plan.read_bytes())["plan"]
    command, whose = _command_of(record, plan, options)
    overrides = (*plan["overrides"], *_installed(record, plan), *options.overrides)
    file, left_out = _experiment_file(overrides, options), _choices(overrides)
    patch = _patch_of(file, overrides, command)
    if not options.quiet:
        shown = command if command is not None else tuple(plan["argv"])
        render.say(f"from {plan['spec']['name']} {record.run_id}: {shlex.join(shown)} ({whose})")
        render.say(f"differs from {_relative(file)}:\n{patch.rstrip()}" if patch else f"nothing differs from {_relative(file)}")
        if left_out:
            render.say(f"and by the choice of files, which belongs into `defaults`: {', '.join(left_out)}")
    return Frozen(Request(overrides, tuple(options.requirements), command, options.config_dir), patch)


def keep_patch(patch: str, directory: Path, *, quiet: bool) -> None:
    """Write the patch beside a run's record, and say how to apply it."""
    file = directory / PATCH
    file.write_text(patch)
    if not quiet:
        render.say(f"`patch -p1 < {render.home_relative(file)}` makes that permanent")


def _find_container(reference: str) -> RunRecord:
    if not find_run(state_dir(), reference).run_dir.is_dev:
        raise ConfigError(f"`{reference}` is a run already", hint=f"`launch rerun {reference}` repeats it")
    record = living_run(state_dir(), reference)
    opened = json.loads(record.run_dir.plan.read_bytes())["identity"].get("opens")
    if opened is not None:
        raise ConfigError(f"`{reference}` shows what run `{opened}` left", hint=f"`launch rerun {opened}` runs that again")
    created = read_state(record.run_dir.journal).created
    if created is not None and created.cwd is not None and Path(created.cwd) != Path.cwd():
        raise ConfigError(f"`{reference}` was made in another directory", hint=f"`cd {created.cwd}`")
    return record


def _command_of(record: RunRecord, plan: dict[str, Any], options: Options) -> tuple[tuple[str, ...] | None, str]:
    """The words, None for the experiment's own; and whose they are."""
    if options.command is not None:
        return options.command, "as typed"
    last = last_command(record.run_dir)
    if last is None or last == tuple(plan["argv"]):
        return None, "the experiment's own command"
    return last, "the last command that was given to it; `-- COMMAND` takes another"


def _installed(record: RunRecord, plan: dict[str, Any]) -> list[str]:
    """What is in it beyond its image, as overrides: installed by hand, or by `--with` when it was made."""
    found, groups = find_installed(record.run_dir), plan["spec"]["image"]["groups"]
    requirements = [*groups.get("with", {}).get("requirements", ()), *found.requirements]
    name = next(name for name in ("more", *(f"more{number}" for number in range(2, 100))) if name not in groups)
    wanted = {"requirements": requirements, "apt": found.packages}
    return [f"image.groups.{name}.{key}={json.dumps(list(values))}" for key, values in wanted.items() if values]


def _experiment_file(overrides: Sequence[str], options: Options) -> Path:
    chosen = [text.partition("=")[2] for text in overrides if text.startswith("experiment=")][-1]
    known = list_experiments(config_dir=options.config_dir, cwd=Path.cwd(), environ=os.environ)
    file = next((each.file for each in known if each.name == chosen), None)
    if file is None:
        raise ConfigError(f"experiment `{chosen}` is not there any more")
    return file


def _choices(overrides: Sequence[str]) -> list[str]:
    """Those that choose files or take keys away: no value that could be written down."""
    return [text for text in overrides if not text.startswith("experiment=") and not _is_value(text)]


def _is_value(text: str) -> bool:
    key = text.partition("=")[0].lstrip("+")
    return not text.startswith("~") and key not in GROUPS and not any(mark in key for mark in "/@")


def _patch_of(file: Path, overrides: Sequence[str], command: Sequence[str] | None) -> str:
    changes: dict[tuple[str, ...], Any] = {}
    for override in parse_overrides([text for text in overrides if _is_value(text)]):
        changes[tuple(str(override.key_or_group).split("."))] = override.value()
    if command is not None:
        changes[("command",)] = list(command)
    before = file.read_text()
    after, shown = with_values(before, changes), _relative(file)
    lines = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(difflib.unified_diff(lines[0], lines[1], f"a/{shown}", f"b/{shown}", n=1))


def _relative(file: Path) -> str:
    return os.path.relpath(file)
