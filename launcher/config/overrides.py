"""Put the command line into a composed tree, by Hydra's rules and with errors that name lines: `key=value`, `--with`, `--
COMMAND…`.

`key=v` sets a key that exists, `+key=v` adds a new one, `++key=v` does either, `~key` deletes; a mapping is merged, anything else
replaces. Two rules are stricter than Hydra's: `+key=[…]` on a list is refused (it would replace the list in silence), and a
mapping of the schema cannot be replaced by a number.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.config import traps
from launcher.config.origin import Sources
from launcher.config.schema_shape import KeyPath, shape_at
from launcher.errors import ConfigError, Origin

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


def refuse_sweeps(overrides: Sequence[Override]) -> None:
    """`lr=1,2` without `-m`."""
    for override in overrides:
        if override.is_sweep_override():
            text = str(override.input_line)
            key, _, value = text.partition("=")
            raise ConfigError(
                f"`{text}` lists several values",
                origin=Origin(override=text),
                hint=f"`launch -m` makes a run for each; a list is written `{key}=[{value}]`, text `'{key}=\"{value}\"'`",
            )


def key_path(key: str) -> KeyPath:
    return tuple(key.replace("[", ".").replace("]", "").split("."))


def apply(override: Override, values: dict[str, Any], sources: Sources, *, holder: Path) -> None:
    """Put *override* into *values* and *sources*."""
    path = key_path(override.key_or_group)
    text = str(override.input_line)
    if override.is_delete():
        _delete(path, values, sources, text)
        return
    value = override.value()
    written = text.partition("=")[2]
    _check_place(path, value, values, sources, override, written)
    put(path, value, values)
    sources.add_override(path, written, override=text, holder=holder)


def put(path: KeyPath, value: Any, values: dict[str, Any]) -> None:
    """Set *path*, making mappings on the way; a mapping is merged into a mapping."""
    parent = values
    for part in path[:-1]:
        if not isinstance(parent.get(str(part)), dict):
            parent[str(part)] = {}
        parent = parent[str(part)]
    last = str(path[-1])
    if isinstance(value, dict) and isinstance(parent.get(last), dict):
        for key, item in value.items():
            put((str(key),), item, parent[last])
    else:
        parent[last] = value


def value_at(key: str, values: dict[str, Any]) -> Any:
    """The value of the dotted *key*, None where there is none."""
    return _look_up(key_path(key), values)[2]


def is_known(key: str, values: dict[str, Any]) -> bool:
    """Whether *key* can be set without `+`."""
    path = key_path(key)
    return _look_up(path, values)[0] or (path[0] != "params" and shape_at(path) is not None)


def names_beside(path: KeyPath, values: dict[str, Any]) -> list[str]:
    """The keys of the mapping that would hold *path*."""
    return _names(_look_up(path, values)[1])


def _check_place(path: KeyPath, value: Any, values: dict[str, Any], sources: Sources, override: Override, written: str) -> None:
    origin = Origin(override=str(override.input_line))
    exists, parent, at = _look_up(path, values)
    if exists and override.is_add() and not isinstance(value, list):
        where = f" ({there})" if (there := sources.origin(path)) else ""
        raise ConfigError(
            f"`{traps.dotted(path)}` exists already{where}", origin=origin, hint=f"without `+`: `{traps.dotted(path)}={written}`"
        )
    if exists and isinstance(at, list) and isinstance(value, list) and (override.is_add() or override.is_force_add()):
        raise _would_replace_list(path, at, value, written, sources, origin)
    shape = shape_at(path)
    if not exists and not (override.is_add() or override.is_force_add()) and (shape is None or path[0] == "params"):
        raise traps.unknown_key(path, _names(parent), elsewhere=_parameters(values), origin=origin, value=written)
    if not exists and shape is None and path[0] != "params":
        raise traps.unknown_key(path, _names(parent), elsewhere=_parameters(values), origin=origin, value=written)
    if shape is not None and shape.mapping and not shape.scalar and not isinstance(value, dict) and value is not None:
        near = traps.near_key(path, ()) if path == ("gpu",) else None
        hint = f"did you mean `{near}={written}`?" if near else f"set one of its keys, as in `{traps.dotted(path)}.KEY=…`"
        raise ConfigError(f"`{traps.dotted(path)}` is a mapping", origin=origin, hint=hint)


def _would_replace_list(
    path: KeyPath, at: list[Any], value: list[Any], written: str, sources: Sources, origin: Origin
) -> ConfigError:
    name = traps.dotted(path)
    where = f" from {written_in}" if (written_in := sources.origin(path)) else ""
    adding = " ".join(f"--with {item}" for item in value)
    hint = f"`{name}={written}` replaces it"
    if name == "image.requirements":
        hint = f"`{adding}` adds to it; {hint}"
    elif name in ("image.apt", "image.run"):
        hint = f"`image.groups.more.{path[-1]}={written}` adds to it; {hint}"
    return ConfigError(f"`+` would replace the whole list `{name}`{where}, not add to it", origin=origin, hint=hint)


def _names(parent: Any) -> list[str]:
    return [str(key) for key in parent] if isinstance(parent, dict) else []


def _parameters(values: dict[str, Any]) -> list[str]:
    return [f"params.{name}" for name in _names(values.get("params"))]


def _look_up(path: KeyPath, values: dict[str, Any]) -> tuple[bool, Any, Any]:
    """(whether *path* exists, the mapping that would hold it, its value)."""
    parent: Any = values
    for part in path[:-1]:
        if not isinstance(parent, dict) or str(part) not in parent:
            return False, None, None
        parent = parent[str(part)]
    if not isinstance(parent, dict) or str(path[-1]) not in parent:
        return False, parent, None
    return True, parent, parent[str(path[-1])]


def _delete(path: KeyPath, values: dict[str, Any], sources: Sources, text: str) -> None:
    exists, parent, _ = _look_up(path, values)
    origin = Origin(override=text)
    if not exists:
        raise traps.unknown_key(path, _names(parent), elsewhere=_parameters(values), origin=origin)
    if shape_at(path) is not None and len(path) == 1:
        raise ConfigError(
            f"`{traps.dotted(path)}` cannot be deleted",
            origin=origin,
            hint="`~` is for parameters and for keys of `env`, `data`, `tags`, …",
        )
    del parent[str(path[-1])]
    sources.drop(path)


WITH_GROUP = "with"
"""Requirements of `--with` are a group of additions, since those join whatever `image.requirements` is: a list or a file."""


def add_requirements(requirements: Sequence[str], values: dict[str, Any], sources: Sources, *, cwd: Path) -> None:
    """`--with 'a>=1'`, any number of times."""
    if not requirements:
        return
    path = ("image", "groups", WITH_GROUP, "requirements")
    put(path, list(requirements), values)
    sources.add_value(path, override=" ".join(f"--with {shlex.quote(requirement)}" for requirement in requirements), holder=cwd)


def replace_command(command: Sequence[str] | None, values: dict[str, Any], sources: Sources, *, cwd: Path) -> None:
    """`-- python3 other.py --flag`: words as they are, nothing is split again."""
    if command is None:
        return
    values["command"] = list(command)
    sources.add_value(("command",), override=f"-- {shlex.join(command)}", holder=cwd)
