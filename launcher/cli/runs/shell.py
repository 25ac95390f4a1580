"""A program in a container that is there, beside a run's own: `launch exec`, `launch shell RUN`."""

from __future__ import annotations

import os
import re
import select
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.cli import render
from launcher.cli.command import Options
from launcher.cli.runs.relay import Relayed, relay
from launcher.cli.terminal import terminal_size
from launcher.errors import ConfigError
from launcher.journal.run_journal import Follower
from launcher.run.dev_containers import note_command
from launcher.run.running_runs import find_own_run, living_run, refuse_paused
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.tracking.record.run_record import RunRecord
from runtime.container.exec_inside import ExecRequest, exec_inside, note_use
from runtime.errors import ContainerError
from runtime.state_dir import state_dir

SHELL = ("/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh")
"""bash where the image has it."""
_LOOK_S = 0.2


def run_inside(
    record: RunRecord,
    argv: Sequence[str],
    options: Options,
    *,
    with_stdin: bool,
    on_terminal: bool,
    inbox: SignalInbox | None = None,
    until: int | None = None,
    interrupt_ends: bool = False,
) -> Relayed:
    """Run *argv* in the container of the living run *record*, as `--user`, `--env` and `--workdir` say, and to its end; earlier
    when *until* is readable, and at Ctrl-C where *interrupt_ends*."""
    refuse_paused(record)
    env = _variables(options.env, os.environ)
    if on_terminal:
        env = {"TERM": os.environ.get("TERM") or "xterm", **env}
    request = ExecRequest(tuple(argv), env, options.workdir, options.user, terminal_size() if on_terminal else None)
    try:
        _await_gpus(record, inbox)
        program = exec_inside(record.run_dir.init_socket, request)
    except ContainerError as error:
        error.message = f"run `{record.run_id}`: {error.message}"
        raise
    if record.run_dir.is_dev and argv is not SHELL:
        note_command(record.run_dir, argv)
    with program:
        return relay(
            program, with_stdin=with_stdin, on_terminal=on_terminal, inbox=inbox, until=until, interrupt_ends=interrupt_ends
        )


def _await_gpus(record: RunRecord, inbox: SignalInbox | None) -> None:
    """Where the container has given its GPUs back, have it ask for them, and wait until they are there, or a signal comes."""
    journal, told = Follower(record.run_dir.journal), None
    if journal.look().gpus_away is None:
        return
    render.say("its GPUs were given back, since nobody used it; they are asked for again")
    note_use(record.run_dir.init_socket)
    signals = [] if inbox is None else [inbox.fd]
    while (away := journal.look().gpus_away) is not None and not journal.state.is_over:
        if away.wait not in (None, told):
            told = away.wait
            render.say(f"waiting: {told}; Ctrl-C leaves")
        if select.select(signals, [], [], _LOOK_S)[0]:
            return


def _variables(words: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """`K=V` and `K` as a mapping."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ConfigError(f"`--env {word}` names no variable", hint="write it as `--env NAME=VALUE`")
        if equals or name in environ:
            found[name] = value if equals else environ[name]
    return found


def run_to_open(reference: str) -> RunRecord:
    """The run that *reference* means, whether it goes on or has ended."""
    try:
        return find_own_run(state_dir(), reference)
    except ConfigError as error:
        if error.message == f"no run `{reference}`" and reference in _experiments():
            error.hint = f"an experiment of that name is there: `launch shell experiment={reference}`"
        raise


def open_in_run(reference: str, options: Options) -> int:
    """A shell, or the command behind `--`, in the container of a run that goes on."""
    record = living_run(state_dir(), reference, node=options.node)
    return run_inside(record, options.command or SHELL, options, with_stdin=True, on_terminal=True).code


def _experiments() -> list[str]:
    from launcher.config.project import list_experiments

    return [each.name for each in list_experiments(config_dir=None, cwd=Path.cwd(), environ=os.environ)]
