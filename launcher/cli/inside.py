"""What `launch exec` and `launch shell` have in common: options, the request, and the program's exit code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence

from launcher.cli.arguments import Parser
from launcher.errors import ConfigError
from launcher.tracking.record.run_record import RunRecord

SHELL = ("/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh")
"""bash where the image has it."""


def add_options(parser: Parser) -> None:
    parser.add_argument("-u", "--user", metavar="USER[:GROUP]", help="as this user of the container: a name or a number")
    parser.add_argument(
        "-e", "--env", action="append", default=[], metavar="K=V", help="one more variable (repeatable); K alone: our own value"
    )
    parser.add_argument("-w", "--workdir", metavar="DIR", help="working directory; that of the run's program otherwise")


def variables(words: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """`K=V` and `K` as a mapping."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ConfigError(f"`--env {word}` names no variable", hint="write it as `--env NAME=VALUE`")
        if equals or name in environ:
            found[name] = value if equals else environ[name]
    return found


def run_inside(
    record: RunRecord,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | None = None,
    user: str | None = None,
    with_stdin: bool,
    on_terminal: bool,
) -> int:
    """Run *argv* in the container of the living run *record*. Returns its exit code."""
    from launcher.cli.relay import relay
    from launcher.run.living import cgroup_of
    from runtime.cgroup.freezer import is_frozen
    from runtime.container.exec_inside import ExecRequest, exec_inside
    from runtime.errors import ContainerError

    if is_frozen(cgroup_of(record)):
        raise ConfigError(f"run `{record.run_id}` is paused", hint=f"`launch unpause {record.run_id}` lets it go on")
    size = terminal_size() if on_terminal else None
    if on_terminal:
        env = {"TERM": os.environ.get("TERM") or "xterm", **env}
    request = ExecRequest(tuple(argv), env, cwd, user, size)
    try:
        program = exec_inside(record.run_dir.init_socket, request)
    except ContainerError as error:
        error.message = f"run `{record.run_id}`: {error.message}"
        raise
    with program:
        return relay(program, with_stdin=with_stdin, on_terminal=on_terminal)


def terminal_size() -> tuple[int, int]:
    """Rows and columns of our terminal; the usual ones when it has none to tell."""
    from runtime.container.pty import size_of

    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if os.isatty(stream.fileno()):
            rows, columns = size_of(stream.fileno())
            if rows and columns:
                return rows, columns
    return 24, 80


def need_terminal(hint: str) -> None:
    if not os.isatty(sys.stdin.fileno()):
        raise ConfigError("stdin is not a terminal", hint=hint)
