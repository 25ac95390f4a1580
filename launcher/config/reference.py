"""The page docs/reference/configuration.md, made from `schema.py` and the shipped presets.

    python -m launcher.config.reference > docs/reference/configuration.md

A test compares the page with what this makes.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from launcher.config import quantities, schema
from launcher.config.project import shipped_conf

_INTRODUCTION = """\
# Configuration

<!-- Made by `python -m launcher.config.reference`; edit `launcher/config/schema.py` instead. -->

Every key of an experiment. In a file (`conf/experiment/NAME.yaml`, first line `# @package _global_`) keys are written as YAML;
on the command line as `gpus=2`, `params.lr=0.1`, `env.A=x`. `launch --cfg job experiment=NAME` prints what an experiment
resolves to.

- **text** stays as it is written: `python: 3.10` is `3.10`, `on` is `on`.
- A **duration** is `500ms`, `90s`, `30m`, `12h`, `2d`, or a number of seconds.
- A **size** is `512MiB`, `16GiB` (K, M, G, KiB, MiB, GiB: binary; KB, MB, GB: decimal), or a number of bytes.
- A relative **path** in a file starts from the directory that holds the `conf/` of that file; on the command line from the
  working directory.
- `${params.lr}` refers to another key, `${oc.env:NAME,null}` to a variable of the environment. Secrets have a key of their own.
- Lists are replaced, mappings are joined: what is to be added to an image by several files goes to `image.groups.NAME`.
"""


def page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for title, prefix, model in _sections(schema.ExperimentSpec, ""):
        parts.append(_section(title, prefix, model))
    parts.append(_presets())
    return "\n".join(parts)


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, type[BaseModel]]]:
    yield (f"`{prefix}`" if prefix else "The experiment"), prefix, model
    for name, field in model.model_fields.items():
        for inner, path in _models(field.annotation, f"{prefix}.{name}" if prefix else name):
            yield from _sections(inner, path)


def _models(annotation: Any, path: str) -> Iterator[tuple[type[BaseModel], str]]:
    """The sections inside a type, with the key that they stand under."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, path
    below = f"{path}.NAME" if typing.get_origin(annotation) is dict else path
    for option in typing.get_args(annotation):
        yield from _models(option, below)


def _section(title: str, prefix: str, model: type[BaseModel]) -> str:
    lines = [f"## {title}", "", " ".join((model.__doc__ or "").split()), ""]
    lines += ["| key | type | default | meaning | example |", "| --- | --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        key = f"{prefix}.{name}" if prefix else name
        cells = [f"`{key}`", _type(field), _default(field), field.description or "", f"`{_yaml((field.examples or [''])[0])}`"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _type(field: FieldInfo) -> str:
    names = list(dict.fromkeys(_names(field.annotation)))
    for function, name in ((quantities.seconds, "duration"), (quantities.size_bytes, "size")):
        if any(getattr(part, "func", None) is function for part in field.metadata):
            names = [name, *(["null"] if "null" in names else [])]
    return " or ".join(names)


def _names(annotation: Any) -> Iterator[str]:
    origin, options = typing.get_origin(annotation), typing.get_args(annotation)
    simple = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null", Any: "anything"}
    if origin is typing.Annotated:
        yield from _names(options[0])
    elif origin is typing.Literal:
        yield from (f"`{choice}`" for choice in options)
    elif origin is typing.Union or origin is types.UnionType:
        for option in options:
            yield from _names(option)
    elif origin is list:
        yield f"list of {' or '.join(_names(options[0]))}"
    elif origin is dict:
        yield f"mapping of {' or '.join(dict.fromkeys(_names(options[1])))}"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "mapping"
    else:
        yield simple.get(annotation, str(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "—"
    if isinstance(field.default, BaseModel):
        return "its keys' own"
    return f"`{_yaml(field.default)}`"


def _yaml(value: Any) -> str:
    """*value* in one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return str(text).removesuffix("\n").removesuffix("\n...").strip()


def _presets() -> str:
    lines = ["## Presets", "", "Chosen with `GROUP=NAME`, or in an experiment with `defaults: [override /GROUP: NAME]`.", ""]
    lines += ["| group | name | sets |", "| --- | --- | --- |"]
    conf = shipped_conf()
    for group in ("image", "tracking", "cluster", "sweep"):
        for file in sorted((conf / group).glob("*.yaml")):
            content = yaml.safe_load(file.read_text()) or {}
            lines.append(f"| `{group}` | `{file.stem}` | `{_yaml(content)}` |".replace("`{", "`{ ").replace("}`", " }`"))
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(page(), end="")
