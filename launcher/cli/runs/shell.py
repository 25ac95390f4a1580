"""A program beside a run's own, in its container (`launch exec`, `launch shell RUN`); a shell in a container of its own, as a run
of an experiment would have (`launch shell experiment=NAME`)."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.cli import render
from launcher.cli.arguments import Talk, request_of
from launcher.cli.command import Options
from launcher.cli.runs.relay import SIGNALS, relay
from launcher.cli.terminal import terminal_size
from launcher.cli.timings import Timings
from launcher.errors import ConfigError
from launcher.run.running_runs import living_run
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.tracking.record.run_record import RunRecord
from runtime.cgroup.freezer import is_frozen
from runtime.cgroup.own_cgroups import open_cgroup
from runtime.container import pty
from runtime.container.exec_inside import ExecRequest, exec_inside
from runtime.errors import ContainerError
from runtime.state_dir import state_dir

_SHELL = ("/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash; exec sh")
"""bash where the image has it."""


def run_inside(record: RunRecord, argv: Sequence[str], options: Options, *, with_stdin: bool, on_terminal: bool) -> int:
    """Run *argv* in the container of the living run *record*, as `--user`, `--env` and `--workdir` say. Returns its exit code."""
    if is_frozen(open_cgroup(record.run_dir.cgroup_name)):
        raise ConfigError(f"run `{record.run_id}` is paused", hint=f"`launch unpause {record.run_id}` lets it go on")
    env = _variables(options.env, os.environ)
    if on_terminal:
        env = {"TERM": os.environ.get("TERM") or "xterm", **env}
    request = ExecRequest(tuple(argv), env, options.workdir, options.user, terminal_size() if on_terminal else None)
    try:
        program = exec_inside(record.run_dir.init_socket, request)
    except ContainerError as error:
        error.message = f"run `{record.run_id}`: {error.message}"
        raise
    with program:
        return relay(program, with_stdin=with_stdin, on_terminal=on_terminal)


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


def open_in_run(reference: str, options: Options) -> int:
    try:
        record = living_run(state_dir(), reference, node=options.node)
    except ConfigError as error:
        if error.message == f"no run `{reference}`" and reference in _experiments():
            error.hint = f"an experiment of that name is there: `launch shell experiment={reference}`"
        raise
    return run_inside(record, options.command or _SHELL, options, with_stdin=True, on_terminal=True)


def _experiments() -> list[str]:
    from launcher.config.project import list_experiments

    return [each.name for each in list_experiments(config_dir=None, cwd=Path.cwd(), environ=os.environ)]


def open_in_new_container(options: Options) -> int:
    from launcher.cli.prepare import compose, plan_and_build
    from launcher.run.bare_shell import bare_shell, clear_dead_shells
    from launcher.run.supervisor.attempt import CancelledInQueue

    request, timings, state = request_of(options), Timings(), state_dir().ensure()
    clear_dead_shells(state)
    composed = compose(request, state)
    prepared = plan_and_build(composed, state, timings, image=options.image, talk=Talk.of(options))
    say = (lambda _text: None) if options.quiet else render.warn
    if not options.quiet:
        render.say(f"a shell as a run of {prepared.plan.spec.name} would have; nothing of it is kept, /outputs neither")
        if prepared.plan.gpus:
            render.say(f"it holds {prepared.plan.gpus} GPUs, and waits for them where they are taken")
    argv = prepared.plan.argv if request.command else _SHELL
    inbox = SignalInbox(SIGNALS)
    try:
        with bare_shell(prepared.plan, prepared.image, state, argv, inbox=inbox, say=say) as program:
            pty.set_size(program.stdin, *pty.size_of(sys.stdin.fileno()))
            return relay(program, with_stdin=True, on_terminal=True, inbox=inbox)
    except CancelledInQueue:
        return 130
