"""A configuration file with other values: only what changes is written anew; comments, order and spelling of the rest stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_Path = Sequence[str]


def with_values(text: str, changes: Mapping[tuple[str, ...], Any]) -> str:
    """The YAML *text*, whose top is a mapping, with *changes* by key path: values replaced where there are some, else added."""
    for path, value in changes.items():
        text = _with_value(text, path, value)
    return text


def _with_value(text: str, path: _Path, value: Any) -> str:
    top = yaml.compose(text, Loader=yaml.SafeLoader)
    node, depth = top, 0
    while depth < len(path) and (below := _value_of(node, path[depth])) is not None:
        node, depth = below, depth + 1
    rest = path[depth:]
    if rest and isinstance(node, yaml.MappingNode) and not node.flow_style:
        return _added(text, node, rest, value)
    if node is None:
        return "\n".join([text.rstrip("\n"), *_lines(rest, value, 0), ""]).lstrip("\n")
    if rest and isinstance(node, yaml.MappingNode):
        value = _merged(yaml.safe_load(_text_of(text, node)), rest, value)
    elif rest:  # `image:` with nothing behind it
        value = _merged({}, rest, value)
    start, end = _span(text, node)
    gap = " " if start == end and text[start - 1 : start] == ":" else ""
    return text[:start] + gap + _flow(value) + text[end:]


def _value_of(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _added(text: str, node: yaml.MappingNode, rest: _Path, value: Any) -> str:
    """*value* behind what the block mapping *node* holds."""
    last = _end_of(text, node)
    line_end = text.find("\n", last)
    at = len(text) if line_end < 0 else line_end
    return "\n".join([text[:at], *_lines(rest, value, node.start_mark.column)]) + (text[at:] or "\n")


def _lines(path: _Path, value: Any, indent: int) -> list[str]:
    """`a:`, `  b: VALUE`: one line for each key of *path*."""
    keys = [f"{' ' * (indent + 2 * depth)}{_flow(key)}:" for depth, key in enumerate(path)]
    return [*keys[:-1], f"{keys[-1]} {_flow(value)}"]


def _merged(values: Mapping[str, Any] | None, rest: _Path, value: Any) -> dict[str, Any]:
    merged = dict(values or {})
    merged[rest[0]] = value if len(rest) == 1 else _merged(merged.get(rest[0]), rest[1:], value)
    return merged


def _span(text: str, node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.index, _end_of(text, node)


def _end_of(text: str, node: yaml.Node) -> int:
    """Behind the last character of *node*: the mark of a block lies behind comments and empty lines that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end_of(text, last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _text_of(text: str, node: yaml.Node) -> str:
    start, end = _span(text, node)
    return text[start:end]


def _flow(value: Any) -> str:
    written: str = yaml.safe_dump(value, default_flow_style=True, width=1 << 16, allow_unicode=True, sort_keys=False)
    return written.removesuffix("\n").removesuffix("\n...")
