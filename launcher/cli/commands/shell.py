"""`launch shell RUN`: a shell in a running container. `launch shell experiment=X`: one in the environment of an experiment."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.cli import arguments as args
from launcher.cli import inside, render
from launcher.cli.timings import Timings
from launcher.errors import ConfigError
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "shell",
        "Open a shell in the container of a run, beside its program; or, with `experiment=NAME`, in a new container as a run of\n"
        "it would have: image, data, caches, variables, GPUs, limits. That one is in no record and goes away with the shell,\n"
        "and its /outputs too. bash where there is one, else sh; `-- COMMAND` runs another program on the terminal.",
        usage="RUN [--node K] [--user USER] [--env K=V] [--workdir DIR] [-- COMMAND ...]\n"
        "       launch shell experiment=NAME [KEY=VALUE ...] [-- COMMAND ...]",
    )
    args.add_experiment_options(parser)
    inside.add_options(parser)
    args.add_node_option(parser)
    parser.add_argument("--image", metavar="IMAGE", help="in an existing image: a digest prefix, a name or an experiment")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing of ours on stderr but errors")
    before, command = args.split_command(arguments)
    options = parser.parse_intermixed_args(before)
    args.apply_debug(options)
    inside.need_terminal("`launch exec RUN -i -- sh` reads commands from a pipe")
    if any("=" in word for word in options.overrides):
        if options.user or options.env or options.workdir:
            parser.error("--user, --env and --workdir are for a run that is there; an experiment has `env.NAME=VALUE`")
        return _in_a_new_container(args.parse(parser, arguments)[1], options)
    if len(options.overrides) != 1:
        raise ConfigError("no run to open a shell in", hint="`launch shell @last`, or `launch shell experiment=NAME`")
    return _in_a_run(options.overrides[0], command, options)


def _in_a_run(reference: str, command: tuple[str, ...] | None, options: argparse.Namespace) -> int:
    from launcher.run.living import living_run

    try:
        record = living_run(state_dir(), reference, node=options.node)
    except ConfigError as error:
        if error.message == f"no run `{reference}`" and reference in _experiments():
            error.hint = f"an experiment of that name is there: `launch shell experiment={reference}`"
        raise
    return inside.run_inside(
        record,
        command or inside.SHELL,
        env=inside.variables(options.env, os.environ),
        cwd=options.workdir,
        user=options.user,
        with_stdin=True,
        on_terminal=True,
    )


def _experiments() -> list[str]:
    from launcher.config.project import list_experiments

    return [found.name for found in list_experiments(config_dir=None, cwd=Path.cwd(), environ=os.environ)]


def _in_a_new_container(request: args.Request, options: argparse.Namespace) -> int:
    from launcher.cli.prepare import compose, plan_and_build
    from launcher.cli.relay import SIGNALS, relay
    from launcher.run.bare_shell import bare_shell, clear_dead_shells
    from launcher.run.gpus.leases import Withdrawn
    from launcher.run.supervisor.signal_inbox import SignalInbox
    from runtime.container import pty

    timings, state = Timings(), state_dir().ensure()
    clear_dead_shells(state)
    composed = compose(request, state)
    prepared = plan_and_build(composed, state, timings, image=options.image, quiet=options.quiet)
    say = (lambda _text: None) if options.quiet else render.warn
    if not options.quiet:
        render.say(f"a shell as a run of {prepared.plan.spec.name} would have; nothing of it is kept, /outputs neither")
        if prepared.plan.gpus:
            render.say(f"it holds {prepared.plan.gpus} GPUs, and waits for them where they are taken")
    argv = prepared.plan.argv if request.command else inside.SHELL
    inbox = SignalInbox(SIGNALS)
    try:
        with bare_shell(prepared.plan, prepared.image, state, argv, inbox=inbox, say=say) as program:
            pty.set_size(program.stdin, *pty.size_of(sys.stdin.fileno()))
            return relay(program, with_stdin=True, on_terminal=True, inbox=inbox)
    except Withdrawn:
        return 130
