"""How large a configuration may be: counted on the parser's events, before anybody makes values of them.

Ten lines of YAML can hold a billion values (each list names the one before it nine times), and composing takes time for each,
and a stack for each level. The limits are far above what people write. Whoever takes such a file is refused, and nobody else.
"""

from __future__ import annotations

from typing import Any

import yaml

from launcher.errors import ConfigError, Origin

MOST_VALUES = 10_000
"""With those that aliases repeat."""
DEEPEST = 50
"""Lists and mappings, one within the other."""

LONGEST_OVERRIDE = 20_000
"""Characters. Hydra's parser takes a second for some 3,000 numbers."""

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_document(text: str, *, shown: str) -> None:
    """Refuse the YAML *text* of the file that errors call *shown* when it holds too much. Raises ConfigError, and YAMLError."""
    open_values: list[tuple[str | None, int]] = []
    """Of each list and mapping around the event: its anchor, and how many values came before it."""
    sizes: dict[str, int] = {}
    count = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_values):
                words = f"`*{event.anchor}` stands in what it names: such a value has no end"
                raise ConfigError(words, origin=_origin(event, shown))
            count += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_values.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_values.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        if len(open_values) > DEEPEST:
            raise ConfigError(f"more than {DEEPEST} lists and mappings, one within the other", origin=_origin(event, shown))
        if count > MOST_VALUES:
            raise ConfigError(
                f"more than {MOST_VALUES} keys and values, those included that aliases (`*NAME`) repeat",
                origin=_origin(event, shown),
                hint="put data into a file of its own, which the program reads: `data: {NAME: FILE}`",
            )


def _origin(event: yaml.Event, shown: str) -> Origin:
    return Origin(file=shown, line=event.start_mark.line + 1 if event.start_mark else None)


def check_override(text: str) -> None:
    """Refuse an override that is no text, or that Hydra's parser would take long for, or lose itself in. Raises ConfigError."""
    if not is_utf8(text):
        raise ConfigError(f"not UTF-8: {ascii(text)[:80]}")
    depth = deepest = 0
    for letter in text:
        depth += (letter in "[{(") - (letter in "]})")
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise ConfigError(f"an override with more than {DEEPEST} brackets, one within the other: `{text[:40]}…`")
    if len(text) > LONGEST_OVERRIDE:
        raise ConfigError(
            f"an override of {len(text)} characters, more than {LONGEST_OVERRIDE}: `{text[:40]}…`",
            hint="put its value into the experiment's file",
        )


def is_utf8(text: str) -> bool:
    """Whether *text*, which may come from bytes of the system, has only characters in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
