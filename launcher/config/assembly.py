"""From a request to a spec, without a cache: compose, put overrides, keep text, fill in, validate."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from launcher.config import overrides, resolve
from launcher.config.compose import ConfigTree, compose_files, parse_overrides, split_groups
from launcher.config.notebook_command import add_notebook_requirements, is_notebook
from launcher.config.project import Request
from launcher.config.resolve import copy_tree, pieces
from launcher.config.spec import ExperimentSpec
from launcher.config.validate import ValidationContext, to_spec
from launcher.errors import ConfigError, Origin
from runtime.light_dataclasses import dataclass

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


@dataclass(frozen=True, slots=True)
class Assembly:
    spec: ExperimentSpec
    values: dict[str, Any]
    """The tree as `--cfg job` shows it: resolved, the command as written."""
    origins: dict[str, str]
    choices: dict[str, str]
    environment: dict[str, str | None]
    """Variables that were read, None where absent."""
    repeatable: bool
    """Whether the same files and variables give the same spec again."""
    validate_s: float = 0.0
    """Seconds that validation took, for `--timings`."""


def assemble(request: Request) -> Assembly:
    """Compose and validate *request*."""
    parsed = parse_overrides(request.overrides)
    overrides.refuse_sweeps(parsed)
    choices, settings = split_groups(parsed, request.path)
    with resolve.reading_environment(request.environ) as environment:
        tree = compose_tree(choices, settings, request)
        return finish(tree, request, environment)


def compose_tree(
    choices: Sequence[Override], settings: Sequence[Override], request: Request, *, swept: Sequence[str] = ()
) -> ConfigTree:
    """The tree of *choices* with *settings*, `--with` and `--` put in. *swept*: keys that get their values later."""
    given = [overrides.key_path(key) for key in (*(setting.key_or_group for setting in settings), *swept)]
    tree = compose_files(request.path, choices, given=given, display_root=request.cwd)
    for setting in settings:
        overrides.apply(setting, tree.values, tree.sources, holder=request.cwd)
    overrides.add_requirements(request.with_requirements, tree.values, tree.sources, cwd=request.cwd)
    overrides.replace_command(request.command, tree.values, tree.sources, cwd=request.cwd)
    if tree.values.get("name") is None:
        tree.values["name"] = tree.choices.get("experiment")
    return tree


def finish(tree: ConfigTree, request: Request, environment: dict[str, str | None]) -> Assembly:
    """Resolve and validate *tree*, which is left as it is."""
    values = copy_tree(tree.values)
    resolve.keep_text(values, tree.sources)
    resolve.refuse_unsayable(values, tree.sources)
    repeatable = resolve.is_repeatable(values)
    as_written = values.get("command")
    if isinstance(as_written, str):
        values["command"] = list(split_command(as_written, origin=tree.sources.origin(("command",))))
    values = resolve.fill_in(values, tree.sources)
    if is_notebook(values.get("command") or ()):
        add_notebook_requirements(values)
    file = request.path.find(f"experiment/{tree.choices.get('experiment')}")
    context = ValidationContext(
        sources=tree.sources,
        holder=request.path.holder(file) if file is not None else request.cwd,
        experiment=Origin(file=tree.sources.shown(file), line=1) if file is not None else None,
    )
    begun = time.perf_counter()
    spec = to_spec(values, context)
    return Assembly(
        spec,
        {**values, "command": as_written},
        tree.sources.origins(),
        tree.choices,
        dict(environment),
        repeatable,
        validate_s=time.perf_counter() - begun,
    )


_SHELL_ONLY = {"&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1"}


def split_command(command: str, *, origin: Origin | None) -> tuple[str, ...]:
    """The words of *command* by POSIX shell rules, before anything is filled in, and without a shell. `${...}` counts as one
    character of its word, whatever quotes and spaces it holds; filling it in is the planner's (`plan.program.command`)."""
    references = [piece for piece in pieces(command) if piece.startswith("${")]
    hidden = "".join("\0" if piece.startswith("${") else piece for piece in pieces(command))
    try:
        words = shlex.split(hidden)
    except ValueError as error:
        raise ConfigError(f"the command cannot be split into words: {str(error).lower()}", origin=origin) from error
    for word in words:
        if word in _SHELL_ONLY:
            raise ConfigError(
                f"`{word}` in the command would be a plain word: no shell runs",
                origin=origin,
                hint=f"ask for one: `command: [sh, -c, {shlex.quote(command)}]`",
            )
    in_order = iter(references)
    return tuple("".join(next(in_order) if char == "\0" else char for char in word) for word in words)
