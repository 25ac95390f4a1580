"""Split a command into words: POSIX shell rules, before anything is filled in, and without a shell.

`${...}` counts as one character of its word, whatever quotes and spaces it holds. Filling in is the planner's (`plan.command`).
"""

from __future__ import annotations

import shlex

from launcher.config.resolve import pieces
from launcher.errors import ConfigError, Origin

_SHELL_ONLY = {"&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1"}


def split(command: str, *, origin: Origin | None) -> tuple[str, ...]:
    """The words of *command*."""
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
