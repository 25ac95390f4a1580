"""Commands for runs that go on: see them, be in them, hold them, end them."""

from __future__ import annotations

import signal

from launcher.cli.arguments import ANY_RUNS, EXPERIMENT, IN_IMAGE, JSON, NODE, QUIET, RUN, RUNS
from launcher.cli.command import Argument, Command, Options, switch
from launcher.errors import ConfigError

_IN_CONTAINER = (
    Argument("-u", "--user", metavar="USER[:GROUP]", help="as this user of the container: a name or a number"),
    Argument(
        "-e", "--env", action="append", default=[], metavar="K=V", help="one more variable (repeatable); K alone: our own value"
    ),
    Argument("-w", "--workdir", metavar="DIR", help="working directory; that of the run's program otherwise"),
    NODE,
)


@Command("ps", "the runs that have not ended", "List the runs that have not ended.", JSON, usage="[--json]")
def ps(options: Options) -> int:
    from launcher.cli.runs.table import show_active_runs

    return show_active_runs(as_json=options.json)


@Command(
    "attach",
    "watch a running run as if it had been started here",
    "Watch a running run as if it had been started here. Ctrl-C asks it to end, again kills it, Ctrl-\\ leaves it running.\n"
    "`launch logs -f` only shows its output. Exits with the run's code.",
    RUN,
    Argument("-n", "--tail", type=int, default=10, metavar="N", help="lines to show of what it said before (10)"),
    QUIET,
    usage="[--tail N] [-q] RUN",
)
def attach(options: Options) -> int:
    if options.tail < 0:
        raise attach.wrong_usage("--tail takes a number from 0 on")
    from launcher.cli import render
    from launcher.cli.run_place import place_of
    from launcher.cli.watch import SIGNALS
    from launcher.run.running_runs import running_or_waiting
    from launcher.run.supervisor.signal_inbox import SignalInbox
    from runtime.state_dir import state_dir

    record = running_or_waiting(state_dir(), options.run)
    inbox = SignalInbox(SIGNALS)
    if not options.quiet:
        asks = "Ctrl-C starts no more trials, again stops those that run" if record.is_sweep else "Ctrl-C asks it to end"
        render.say(f"watching {record.experiment} {record.run_id}: {asks}, Ctrl-\\ leaves it running")
    return place_of(record).watch(inbox, quiet=options.quiet, tail=options.tail)


@Command(
    "exec",
    "run a program in the container of a run",
    "Run a program in the container of a run: with the namespaces, limits, rights and variables of the run's own program.\n"
    "Exits with the program's code. When this command ends early, the program gets SIGHUP.",
    RUN,
    switch("-i", "--interactive", help="give it our stdin; without it, it has none"),
    switch("-t", "--tty", help="give it a terminal"),
    *_IN_CONTAINER,
    usage="RUN [--node K] [-i] [-t] [--user USER] [--env K=V] [--workdir DIR] -- COMMAND ...",
    takes_command=True,
)
def exec_(options: Options) -> int:
    from launcher.cli.runs.shell import run_inside
    from launcher.cli.terminal import need_terminal
    from launcher.run.running_runs import living_run
    from runtime.state_dir import state_dir

    if not options.command:
        raise ConfigError("no command to run", hint=f"`launch exec {options.run} -- ls -l`, or `launch shell {options.run}`")
    if options.tty and options.interactive:
        need_terminal("without one: `-i` alone")
    record = living_run(state_dir(), options.run, node=options.node)
    return run_inside(record, options.command, options, with_stdin=options.interactive, on_terminal=options.tty)


@Command(
    "shell",
    "a shell in the container of a run, or in an experiment's environment",
    "Open a shell in the container of a run, beside its program; or, with `experiment=NAME`, in a new container as a run of\n"
    "it would have: image, data, caches, variables, GPUs, limits. That one is in no record and goes away with the shell,\n"
    "and its /outputs too. bash where there is one, else sh; `-- COMMAND` runs another program on the terminal.",
    Argument(
        "overrides",
        nargs="*",
        metavar="RUN | KEY=VALUE",
        help="a run; or overrides in Hydra's grammar, of which `experiment=NAME` chooses the experiment",
        completed_by=["runs", "experiments"],
    ),
    *EXPERIMENT[1:],
    *_IN_CONTAINER,
    IN_IMAGE,
    QUIET,
    usage="RUN [--node K] [--user USER] [--env K=V] [--workdir DIR] [-- COMMAND ...]\n"
    "       launch shell experiment=NAME [KEY=VALUE ...] [-- COMMAND ...]",
    takes_command=True,
)
def shell(options: Options) -> int:
    from launcher.cli.runs.shell import open_in_new_container, open_in_run
    from launcher.cli.terminal import need_terminal

    need_terminal("`launch exec RUN -i -- sh` reads commands from a pipe")
    if any("=" in word for word in options.overrides):
        if options.user or options.env or options.workdir:
            raise shell.wrong_usage("--user, --env and --workdir are for a run that is there; an experiment has `env.NAME=VALUE`")
        return open_in_new_container(options)
    if len(options.overrides) != 1:
        raise ConfigError("no run to open a shell in", hint="`launch shell @last`, or `launch shell experiment=NAME`")
    return open_in_run(options.overrides[0], options)


@Command(
    "top",
    "the processes of a run",
    "Show the processes of a run; the first is the container's init.",
    RUN,
    JSON,
    NODE,
    usage="RUN [--node K] [--json]",
)
def top(options: Options) -> int:
    from launcher.cli.runs.stats import print_processes

    return print_processes(options.run, node=options.node, as_json=options.json)


@Command(
    "stats",
    "what runs use now: processor, memory, processes, GPUs",
    "Show what runs use now, all of them or those named, until they have ended or Ctrl-C. 100 % CPU is one core.",
    ANY_RUNS,
    switch("--once", help="one look"),
    switch("--json", help="one JSON object a run and look on stdout"),
    Argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks (1)"),
    usage="[RUN ...] [--once] [--json] [--interval SECONDS]",
)
def stats(options: Options) -> int:
    if not 0.1 <= options.interval <= 3600:
        raise stats.wrong_usage("--interval takes 0.1 to 3600 seconds")
    from launcher.cli.runs.stats import show_stats

    return show_stats(options)


@Command(
    "pause",
    "pause a run; `unpause` lets it go on",
    "Pause runs. They keep memory and GPUs; `timeout` does not count meanwhile. `launch stop` ends them as ever.",
    RUNS,
    usage="RUN [RUN ...]",
)
def pause(options: Options) -> int:
    from launcher.cli.runs.control import pause_runs

    return pause_runs(options.runs)


@Command("unpause", "let a paused run go on", "Let paused runs go on.", RUNS, usage="RUN [RUN ...]")
def unpause(options: Options) -> int:
    from launcher.cli.runs.control import unpause_runs

    return unpause_runs(options.runs)


@Command(
    "stop",
    "ask a run to end (SIGTERM, then SIGKILL after its grace)",
    "Ask runs to end, and wait until they have.",
    RUNS,
    usage="RUN [RUN ...]",
)
def stop(options: Options) -> int:
    from launcher.cli.runs.control import end_runs

    return end_runs(options.runs, signal.SIGTERM)


@Command("kill", "end a run now", "End runs now.", RUNS, usage="RUN [RUN ...]")
def kill(options: Options) -> int:
    from launcher.cli.runs.control import end_runs

    return end_runs(options.runs, signal.SIGQUIT)


@Command(
    "wait",
    "wait for a run to end and exit with its code",
    "Wait for a run to end; exits with the run's code.",
    RUN,
    usage="RUN",
)
def wait(options: Options) -> int:
    from launcher.cli.runs.control import wait_for_run

    return wait_for_run(options.run)
