"""A RunCommand as RUN: what its environment has beside the builder's, scripts with a line for each line, what it must not leave.

Only what every builder knows is used: no here-documents, and the shell form, whose text no builder changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from launcher.plan.dockerfile_export.quoting import is_shell_name, shell_word, single_quoted
from runtime.build.plan import RunCommand


def run_text(
    step: RunCommand,
    *,
    wanted: Mapping[str, str],
    env: Mapping[str, str],
    cwd: str,
    mounts: Sequence[str],
    after: Sequence[Sequence[str]],
) -> str:
    """RUN for *step*. *wanted* is its environment. *env* and *cwd*: the builder's own at that place. *mounts*: flags. *after*:
    commands that follow."""
    scripts = _Scripts()
    command = [*_assigned(wanted, env, scripts), " ".join(scripts.word(word) for word in step.argv)]
    if step.stdin:
        command = [*_printed(step.stdin), f"| {command[0]}", *command[1:]]
    commands = [*([] if step.cwd == cwd else [[f"cd {shell_word(step.cwd)}"]]), *scripts.made, command]
    # The network of the host takes an entitlement in BuildKit; what builders give by default does for fetching.
    flags = [*(["--network=none"] if step.network == "none" else []), *mounts]
    return instruction([*commands, *after], flags)


def instruction(commands: Sequence[Sequence[str]], flags: Sequence[str] = ()) -> str:
    """RUN of *commands*, each of one line or more, one after the other as long as they succeed."""
    lines = [line for command in commands[:-1] for line in (*command[:-1], f"{command[-1]} &&")] + [*commands[-1]]
    head = " ".join(["RUN", *flags])
    return " \\\n    ".join([head, *lines] if flags else [f"{head} {lines[0]}", *lines[1:]])


def _assigned(wanted: Mapping[str, str], env: Mapping[str, str], scripts: _Scripts) -> list[str]:
    """What stands before the command: the variables that *env* does not give it."""
    given = [(name, text) for name, text in sorted(wanted.items()) if env.get(name) != text]
    through_env = [single_quoted(f"{name}={text}") for name, text in given if not is_shell_name(name)]
    assigned = [f"{name}={scripts.word(text)}" for name, text in given if is_shell_name(name)]
    return [*assigned, *([f"env {' '.join(through_env)}"] if through_env else [])]


def removed(patterns: Iterable[str]) -> str:
    """What `rm -rf` has to be given for globs of `RunCommand.drop`."""
    gone: list[str] = []
    for pattern in patterns:
        if pattern.endswith("/**"):
            directory = f"/{pattern.removesuffix('/**')}"
            gone += [f"{directory}/*", f"{directory}/.[!.]*"]
        else:
            gone.append(f"/{pattern}")
    return " ".join(gone)


def removal(variable: str, kept: Sequence[str]) -> list[list[str]]:
    """Commands that remove what *variable* holds (see `removed`) and put back the plain directories *kept*."""
    # What the builder has mounted there cannot be removed, and is nobody's.
    commands = [[f"{{ rm -rf ${variable} || true; }}"]]
    return [*commands, *([[f"mkdir -p {' '.join(map(shell_word, kept))}"]] if kept else [])]


class _Scripts:
    """Words of several lines: each gets a variable, since a line of a Dockerfile cannot hold them."""

    def __init__(self) -> None:
        self.made: list[list[str]] = []

    def word(self, text: str) -> str:
        if "\n" not in text:
            return shell_word(text)
        name = f"script{len(self.made) + 1 if self.made else ''}"
        self.made.append([f"{name}=$(printf '%s\\n'", *_lines(text.strip("\n"), end=")")])
        return f'"${name}"'


def _lines(text: str, *, end: str = "") -> list[str]:
    """The lines of *text*, quoted and indented."""
    lines = [f"    {single_quoted(line)}" for line in text.split("\n")]
    return [*lines[:-1], lines[-1] + end]


def _printed(text: str) -> list[str]:
    """Commands that print *text*, to be piped."""
    whole, end, rest = text.rpartition("\n")
    printed = ["printf '%s\\n'", *_lines(whole)] if end else []
    if not rest:
        return printed
    last = ["printf '%s'", f"    {single_quoted(rest)}"]
    return ["{", *printed[:-1], f"{printed[-1]};", *last[:-1], f"{last[-1]}; }}"] if printed else last
