"""The shape of the schema as data: which dotted keys exist, which hold text, lists or open mappings.

Paths are tuples; `*` stands for a key that a person chooses (`env.*`), `[]` for an item of a list. Made from `schema.py`
once a process. `params` is a mapping of anything, but closed on the command line: a new parameter needs `+`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from launcher.config import schema
from runtime.light_dataclasses import dataclass

Path = tuple[str, ...]
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the schema allows at one path."""

    mapping: bool = False
    """A section with named keys."""
    open_mapping: bool = False
    """A mapping whose keys a person chooses."""
    list: bool = False
    text: bool = False
    """Text is required (or a list of it): the source text counts, not what YAML made of it."""
    scalar: bool = False
    words: tuple[str, ...] = ()
    """Those of which one is meant, where it is not any text or number."""


@lru_cache(maxsize=1)
def shapes() -> dict[Path, Shape]:
    """Every path of the schema."""
    return dict(_section(schema.ExperimentSpec, ()))


def _section(model: type[BaseModel], prefix: Path) -> Iterator[tuple[Path, Shape]]:
    for name, field in model.model_fields.items():
        yield from _annotation(field.annotation, (*prefix, name))


def _annotation(annotation: Any, path: Path) -> Iterator[tuple[Path, Shape]]:
    options = list(_options(annotation))
    models = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    lists = [option for option in options if typing.get_origin(option) is list]
    maps = [option for option in options if typing.get_origin(option) is dict]
    scalars = [option for option in options if option in (str, int, float, bool) or typing.get_origin(option) is typing.Literal]
    numbers = any(option in (int, float, bool) for option in options)
    yield (
        path,
        Shape(
            mapping=bool(models),
            open_mapping=bool(maps),
            list=bool(lists),
            text=str in options and not numbers,
            scalar=bool(scalars),
            words=tuple(word for option in scalars for word in _words(option)),
        ),
    )
    for model in models:
        yield from _section(model, path)
    for item in lists:
        yield from _annotation(typing.get_args(item)[0], (*path, "[]"))
    for item in maps:
        yield from _annotation(typing.get_args(item)[1], (*path, "*"))


def _words(option: Any) -> tuple[str, ...]:
    return ("true", "false") if option is bool else typing.get_args(option)


def _options(annotation: Any) -> Iterator[Any]:
    """The alternatives of a type, without `Annotated`, `Optional` and unions around them."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _options(typing.get_args(annotation)[0])
    elif origin is typing.Union or origin is types.UnionType:
        for option in typing.get_args(annotation):
            yield from _options(option)
    elif annotation is not type(None):
        yield annotation


def shape_at(path: Sequence[str | int]) -> Shape | None:
    """The shape at *path*, None where the schema has no such key. Below a mapping of anything: an empty Shape."""
    known = shapes()
    found: Path = ()
    for index, part in enumerate(path):
        name = "[]" if isinstance(part, int) else part
        if (*found, name) in known:
            found = (*found, name)
        elif (*found, "*") in known and name != "[]":
            found = (*found, "*")
        else:
            return None
        shape = known[found]
        anything = not (shape.mapping or shape.open_mapping or shape.list or shape.scalar)
        if anything and index + 1 < len(path):
            return Shape()
    return known[found] if found else Shape(mapping=True)


def is_text(path: Sequence[str | int]) -> bool:
    """Whether text is required at *path*. The words of a command are text too."""
    if tuple(path[:1]) == ("command",):
        return True
    shape = shape_at(path)
    return shape is not None and shape.text


def default_tree() -> dict[str, Any]:
    """Every key with its default, as Hydra's `schema` node: `gpus=2` and `sweep.trials=10` need no `+`."""
    tree = _defaults(schema.ExperimentSpec)
    tree["sweep"] = _defaults(schema.Sweep)
    return tree


def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    return {name: None if field.is_required() else _plain(field.default) for name, field in model.model_fields.items()}


def _plain(value: Any) -> Any:
    return _defaults(type(value)) if isinstance(value, BaseModel) else value


def open_paths() -> list[Path]:
    """The open mappings below fixed keys, which Hydra's struct mode must leave open."""
    return [
        path
        for path, shape in shapes().items()
        if shape.open_mapping and "*" not in path and "[]" not in path and path != ("params",)
    ]


def known_keys() -> list[str]:
    """Every dotted key of the schema that a person can write, for "did you mean"."""
    return [".".join(path) for path in shapes() if "*" not in path and "[]" not in path]
