"""The command that a run starts, its words filled in (`--lr=${params.lr}` → `--lr=0.1`), and the user that it is started as.

As `docker run` has it: without a command ENTRYPOINT and CMD of the image; `-- WORDS` take the place of CMD and keep ENTRYPOINT.
A `command` of the configuration is the whole command, as it is without a Dockerfile. Its words were split by shell rules before
(`launcher.config`), so a value with spaces, quotes or `;` stays one word and no shell ever sees it. A word that is nothing but a
reference to a list becomes several words.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.config.notebook_command import is_notebook
from launcher.config.spec import ExperimentSpec, to_json
from launcher.errors import ConfigError, Origin
from launcher.plan.origins import Where
from launcher.plan.program.own_files import notebook_argv
from runtime.build.plan import ImageConfig
from runtime.suggestions import did_you_mean

_TYPED = "-- "


def own_command(spec: ExperimentSpec, where: Where) -> tuple[str, ...] | None:
    """The experiment's command with every word filled in; None: it has none of its own."""
    if not spec.command:
        return None
    words = fill(spec.command, lambda: to_json(spec), origin=where("command"))
    return notebook_argv(words) if is_notebook(words) else words


def program_argv(words: tuple[str, ...] | None, spec: ExperimentSpec, config: ImageConfig, where: Where) -> tuple[str, ...]:
    """The words to run, in an image with *config*. *words*: the experiment's `own_command`."""
    if words is not None:
        origin = where("command")
        typed = origin is not None and origin.override is not None and origin.override.startswith(_TYPED)
        return (*config.entrypoint, *words) if typed and spec.image.dockerfile is not None else words
    argv = (*config.entrypoint, *config.command)
    if not argv:
        hint = "add an ENTRYPOINT or a CMD to the Dockerfile, or `command` to the experiment"
        raise ConfigError(f"the image of `{spec.name}` has no command", origin=where("image.dockerfile"), hint=hint)
    return argv


_REFERENCE = re.compile(r"(\\)?\$\{([^${}]*)\}")

Tree = Mapping[str, Any]


def fill(words: Sequence[Any], tree: Tree | Callable[[], Tree], *, origin: Origin | None = None) -> tuple[str, ...]:
    """*words* with every `${a.b}` replaced by that value of *tree* (the spec as plain data, or a function that makes it)."""
    filled: list[str] = []
    for word in words:
        if not isinstance(word, str):
            filled.append(_text(word, "command", word, origin))
            continue
        if "${" not in word:
            filled.append(word)
            continue
        if callable(tree):
            tree = tree()
        filled.extend(_fill_word(word, tree, origin))
    if not filled or not filled[0]:
        raise ConfigError(
            "`command` is empty", origin=origin, hint="it names the program to run, as in `command: python3 train.py`"
        )
    return tuple(filled)


def _fill_word(word: str, tree: Tree, origin: Origin | None) -> list[str]:
    whole = _REFERENCE.fullmatch(word)
    if whole is not None and whole[1] is None:
        value = _look_up(whole[2], tree, word, origin)
        if isinstance(value, list | tuple):
            return [_text(item, whole[2], word, origin) for item in value]
    return [_REFERENCE.sub(lambda found: _replacement(found, tree, word, origin), word)]


def _replacement(found: re.Match[str], tree: Tree, word: str, origin: Origin | None) -> str:
    if found[1] is not None:
        return found[0][1:]
    return _text(_look_up(found[2], tree, word, origin), found[2], word, origin)


def _look_up(reference: str, tree: Tree, word: str, origin: Origin | None) -> Any:
    if ":" in reference:
        hint = "give a key under `params` that value, and refer to the key"
        raise ConfigError(f"`${{{reference}}}` cannot stand in a word of `command`", origin=origin, hint=hint)
    value: Any = tree
    for key in re.split(r"\.|\[|\]\.?", reference.removesuffix("]")):
        try:
            value = value[int(key)] if isinstance(value, list | tuple) else value[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise ConfigError(
                f"`{reference}` in the word `{word}` of `command` does not exist", origin=origin, hint=_near(reference, tree)
            ) from None
    return value


def _near(reference: str, tree: Tree) -> str | None:
    params = tree.get("params", {})
    names = [f"params.{key}" for key in params] + [key for key in tree if key != "params"]
    hints = (did_you_mean(word, names, prefix="${", suffix="}") for word in (reference, f"params.{reference}"))
    return next(filter(None, hints), None)


def _text(value: Any, reference: str, word: Any, origin: Origin | None) -> str:
    """The text of a value: what JSON writes, but strings bare, and `inf` and `nan` as every program reads them."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None:
        hint = "give it a value, or take the word out of `command`; the program can read it from $LAUNCH_PARAMS, too"
        raise ConfigError(f"{reference} is null, so the word `{word}` of `command` has no value", origin=origin, hint=hint)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def runs_as_root(user: str) -> bool:
    """Whether USER says nothing new."""
    return user in ("", "0", "root", "0:0", "root:root")


def program_user(user: str, layers: Sequence[Path]) -> tuple[int, int, tuple[int, ...]]:
    """uid, gid and further groups of the program, names looked up in the image of *layers* (bottom first).

    Started by an ordinary user, a container has all files of the image as its root's: no other user could write where USER is
    meant to. So there the program is the container's root, who has no rights on this machine that its caller does not have.
    """
    if runs_as_root(user) or os.geteuid() != 0:
        return 0, 0, (0,)
    from runtime.build.image_users import resolve_user

    found = resolve_user(user, layers)
    return found.uid, found.gid, found.groups


def user_advice(user: str) -> tuple[str, ...]:
    """A warning where USER is not followed."""
    if runs_as_root(user) or os.geteuid() == 0:
        return ()
    return (f"the image's `USER {user}` is not followed: started by an ordinary user, a program runs as its container's root",)


def thread_count(*, cpus: float, processes: int) -> int:
    """Threads of each rank: what it has of the cores, at least one."""
    return max(1, math.floor(cpus / processes))


def ranks(argv: Sequence[str], *, processes: int, gpus: float) -> int:
    """Processes that will share the cores: those that we start, or the workers that torchrun starts for us, one a GPU."""
    return max(processes, int(gpus)) if starts_torchrun(argv) else processes


def starts_torchrun(argv: Sequence[str]) -> bool:
    """Whether the command starts its ranks with torchrun, under any of its names."""
    return argv[0].rpartition("/")[2] == "torchrun" or any(f"torch.distributed.{name}" in argv for name in ("run", "launch"))
