"""From a composed tree to plain values: text that stays text, `${...}` filled in, and a note of what was read from outside.

The environment is read through our own `oc.env`, so that a compiled configuration knows which variables (absent ones too) it
depends on, and names that look like secrets are refused: their values would end in records. `command` keeps its `${...}`:
its words are filled in after splitting, by the planner.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from omegaconf import Container, OmegaConf, __version__
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from launcher.config import traps
from launcher.config.limits import is_utf8
from launcher.config.origin import Sources
from launcher.config.schema_shape import KeyPath, is_text
from launcher.errors import ConfigError

_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|KEY")
_RESOLVER = re.compile(r"\$\{\s*([A-Za-z_][\w.]*)\s*:")
_WHOLE_REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")
_REPEATABLE = {"oc.env", "oc.select", "oc.decode", "oc.create", "oc.dict.keys", "oc.dict.values", "oc.deprecated"}
_NO_DEFAULT = object()


class _Environment:
    """What `oc.env` reads at the moment, and what it has read."""

    def __init__(self) -> None:
        self.variables: Mapping[str, str] = {}
        self.used: dict[str, str | None] = {}

    def read(self, name: str, default: Any = _NO_DEFAULT) -> str | None:
        if _SECRET.search(str(name).upper()):
            raise _EnvironmentProblem(
                f"`{name}` looks like a secret: its value would be written into records",
                f"list it instead: `secrets: [{name}]`; the program finds it in its environment and in /run/secrets/{name}",
            )
        value = self.variables.get(str(name))
        self.used[str(name)] = value
        if value is not None and not is_utf8(value):
            raise _EnvironmentProblem(f"the environment variable `{name}` is not UTF-8", "no record could hold its value")
        if value is not None:
            return value
        if default is _NO_DEFAULT:
            raise _EnvironmentProblem(
                f"the environment variable `{name}` is not set", f"set it, or allow its absence with `${{oc.env:{name},null}}`"
            )
        return None if default is None else str(default)


class _EnvironmentProblem(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


_environment = _Environment()


@contextmanager
def reading_environment(variables: Mapping[str, str]) -> Iterator[dict[str, str | None]]:
    """Let `oc.env` read *variables*; yields what it has read, absences included."""
    before = _environment.variables, _environment.used
    _environment.variables, _environment.used = variables, {}
    # 2.4 renames the function; the old name warns there, and 2.3 has another function under the new one.
    register: Any = OmegaConf.register_new_resolver if __version__.startswith("2.3") else OmegaConf.register_resolver
    register("oc.env", _environment.read, replace=True)
    try:
        yield _environment.used
    finally:
        _environment.variables, _environment.used = before


def read_variable(name: str) -> str | None:
    """A variable that launch itself needs (`~` in a path), noted like the others."""
    _environment.used[name] = _environment.variables.get(name)
    return _environment.used[name]


def environment_problem(error: BaseException) -> tuple[str, str] | None:
    """The (message, hint) of our `oc.env` behind an error of OmegaConf or Hydra."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, _EnvironmentProblem):
            return seen.message, seen.hint
        seen = seen.__cause__ or seen.__context__
    return None


def is_repeatable(values: Any) -> bool:
    """Whether resolving again gives the same: false where a resolver such as `now:` takes part."""
    return all(name in _REPEATABLE for text in _texts(values) for name in _RESOLVER.findall(text))


def refuse_unsayable(values: Any, sources: Sources, path: KeyPath = ()) -> None:
    """Refuse text that no program can be given (with a NUL in it), or that no record can hold (not UTF-8)."""
    if isinstance(values, str):
        why = "holds a NUL, which no program can be given" if "\0" in values else None if is_utf8(values) else "is not UTF-8"
        if why is not None:
            raise ConfigError(f"`{traps.dotted(path)}` {why}: {ascii(values)[:80]}", origin=sources.origin(path))
    elif isinstance(values, dict | list):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            if isinstance(key, str):
                refuse_unsayable(key, sources, path)
            refuse_unsayable(value, sources, (*path, key))


def keep_text(values: dict[str, Any], sources: Sources) -> None:
    """Where text is required, put back the text as written: `3.10` and not 3.1, `on` and not True."""
    _keep_text(values, (), sources)


def _keep_text(node: dict[str, Any] | list[Any], path: KeyPath, sources: Sources) -> None:
    for key, value in list(node.items()) if isinstance(node, dict) else enumerate(node):
        here = (*path, key if isinstance(key, int) and isinstance(node, list) else str(key))
        if isinstance(value, dict | list):
            _keep_text(value, here, sources)
        elif value == "???":
            raise ConfigError(
                f"`{traps.dotted(here)}` must be given", origin=sources.origin(here), hint=f"as in `{traps.dotted(here)}=VALUE`"
            )
        elif value is not None and not isinstance(value, str) and is_text(here):
            source = sources.get(here)
            node[key] = source.text if source is not None and source.text is not None else render(value)  # type: ignore[index]


def render(value: Any) -> str:
    """A scalar as text: `true`, `0.001`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def fill_in(values: dict[str, Any], sources: Sources) -> dict[str, Any]:
    """*values* with every `${...}` outside `command` replaced. Resolvers inside `command` are replaced; references stay."""
    command = values.get("command")
    others = {key: value for key, value in values.items() if key != "command"}
    in_command = any(_RESOLVER.search(text) for text in _texts(command))
    if not in_command and not any("${" in text for text in _texts(others)):
        return values  # building OmegaConf's tree takes 4 ms, and most trials of a sweep need none
    filled: dict[str, Any] = copy_tree(others)
    tree = OmegaConf.create(filled)
    _fill(filled, tree, (), sources)
    filled["command"] = _fill_resolvers(command, tree, sources)
    return filled


def _fill(node: Any, tree: Any, path: KeyPath, sources: Sources) -> None:
    for key, value in list(node.items()) if isinstance(node, dict) else enumerate(node):
        here = (*path, key)
        if isinstance(value, dict | list):
            _fill(value, tree[key], here, sources)
        elif isinstance(value, str) and "${" in value:
            node[key] = _fill_value(value, tree, key, here, sources)


def _fill_value(written: str, parent: Any, key: Any, path: KeyPath, sources: Sources) -> Any:
    try:
        value = parent[key]
    except OmegaConfBaseException as error:
        raise _unfillable(written, path, error, sources) from error
    if isinstance(value, Container):
        try:
            return OmegaConf.to_container(value, resolve=True)
        except OmegaConfBaseException as error:
            raise _unfillable(written, path, error, sources) from error
    if value is None or isinstance(value, str) or not is_text(path):
        return value
    whole = _WHOLE_REFERENCE.fullmatch(written)
    source = sources.get(tuple(whole[1].split("."))) if whole else None
    return source.text if source is not None and source.text is not None and "${" not in source.text else render(value)


def _fill_resolvers(command: Any, tree: Any, sources: Sources) -> Any:
    """`${oc.env:X}` in a command; `${params.lr}` is left for the planner, which may change parameters on a rerun."""
    if isinstance(command, list):
        return [_fill_resolvers(word, tree, sources) for word in command]
    if not isinstance(command, str) or not _RESOLVER.search(command):
        return command
    done = ""
    for piece in pieces(command):
        if _RESOLVER.match(piece):
            OmegaConf.update(tree, "_word_", piece)
            value = _fill_value(piece, tree, "_word_", ("command",), sources)
            if value is None:
                raise ConfigError(f"`{piece}` in the command is null", origin=sources.origin(("command",)))
            piece = str(value)
        done += piece
    return done


def pieces(text: str) -> Iterator[str]:
    """*text* cut into whole `${...}` (braces balanced) and what is between them."""
    start = at = 0
    while (opening := text.find("${", at)) >= 0:
        depth, end = 1, opening + 2
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        if opening > start:
            yield text[start:opening]
        yield text[opening:end]
        start = at = end
    if start < len(text):
        yield text[start:]


def _unfillable(written: str, path: KeyPath, error: OmegaConfBaseException, sources: Sources) -> ConfigError:
    origin = sources.origin(path)
    problem = environment_problem(error)
    if problem is not None:
        return ConfigError(problem[0], origin=origin, hint=problem[1])
    if "${hydra:" in written:
        return ConfigError(
            "`${hydra:…}` does not exist here: launch does not run through Hydra's own runner",
            origin=origin,
            hint="the experiment's name is `${name}`",
        )
    reason = str(error).strip().splitlines()[0]
    if isinstance(error, InterpolationKeyError):
        found = re.search(r"'([^']+)'", reason)
        name = found[1] if found else written
        near = traps.near_key(tuple(name.split(".")), [key.split(".")[-1] for key in _keys_beside(name, sources)])
        return ConfigError(
            f"`{written}` names `{name}`, which does not exist", origin=origin, hint=f"did you mean `{near}`?" if near else None
        )
    return ConfigError(f"cannot fill in `{written}`: {reason}", origin=origin)


def _keys_beside(name: str, sources: Sources) -> Iterator[str]:
    parent = tuple(name.split(".")[:-1])
    for known, _ in sources.below(parent):
        if len(known) == len(parent) + 1:
            yield traps.dotted(known)


def _texts(values: Any) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict | list):
        for item in values.values() if isinstance(values, dict) else values:
            yield from _texts(item)


def copy_tree(tree: Any) -> Any:
    """A copy of *tree*: its dicts and lists are new, what else they hold are the same objects.

    `copy.deepcopy` takes five times as long, and a sweep copies its tree for each trial.
    """
    if isinstance(tree, dict):
        return {key: copy_tree(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [copy_tree(value) for value in tree]
    return tree
