"""Commands for runs that go on: see them, be in them, hold them, end them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli.arguments import ANY_RUNS, DETACH, EXPERIMENT, IN_IMAGE, JSON, NODE, QUIET, RUN, RUNS
from launcher.cli.command import Argument, Command, Options, switch
from launcher.errors import ConfigError

if TYPE_CHECKING:
    from launcher.tracking.record.run_record import RunRecord

_IN_CONTAINER = (
    Argument("-u", "--user", metavar="USER[:GROUP]", help="as this user of the container: a name or a number"),
    Argument(
        "-e", "--env", action="append", default=[], metavar="K=V", help="one more variable (repeatable); K alone: our own value"
    ),
    Argument("-w", "--workdir", metavar="DIR", help="working directory; that of the run's program otherwise"),
    NODE,
)


@Command(
    "ps",
    "the runs that have not ended",
    "List the runs that have not ended.",
    switch("--helpers", help="the processes that wait for the next command instead (LAUNCH_WARM=0 does without)"),
    JSON,
    usage="[--helpers] [--json]",
)
def ps(options: Options) -> int:
    if options.helpers:
        from launcher.cli.runs.table import show_helpers

        return show_helpers(as_json=options.json)
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
    needs_terminal=True,
)
def attach(options: Options) -> int:
    if options.tail < 0:
        raise attach.wrong_usage("--tail takes a number from 0 on")
    from launcher.cli import render
    from launcher.cli.run_place import place_of
    from launcher.cli.watch import SIGNALS
    from launcher.run.running_runs import running_or_waiting
    from launcher.run.supervisor.signal_inbox import SignalInbox
    from launcher.tracking.lack import lack_words
    from runtime.state_dir import state_dir

    record = running_or_waiting(state_dir(), options.run)
    if record.run_dir.is_dev:
        return _enter(record.run_id)
    inbox = SignalInbox(SIGNALS)
    if not options.quiet:
        render.say(f"watching {record.experiment} {record.run_id}: {_keys(record)}")
        if lack := lack_words(record.run_dir):
            render.warn(lack)
    return place_of(record).watch(inbox, quiet=options.quiet, tail=options.tail)


def _keys(record: RunRecord) -> str:
    """What those do that are pressed meanwhile."""
    from launcher.cli.watch import is_typed_into

    if not record.is_sweep and is_typed_into(record.run_dir):
        return "what you type is the program's, Ctrl-P Ctrl-Q leaves it running"
    asks = "Ctrl-C starts no more trials, again stops those that run" if record.is_sweep else "Ctrl-C asks it to end"
    return f"{asks}, Ctrl-\\ leaves it running"


def _enter(run_id: str) -> int:
    """Another shell in a container to work in: it has no program to watch."""
    from launcher.cli.runs.shell import open_in_run
    from launcher.cli.terminal import need_terminal

    need_terminal("`launch exec ID -- COMMAND` needs none")
    return open_in_run(run_id, shell.parse([run_id]))


@Command(
    "dev",
    "work in an experiment's container, on your own files",
    "Work in a container as a run of the experiment would have (image, data, caches, variables, secrets, GPUs, limits), with\n"
    "your code live in it: a shell, or the command behind `--`. It is no run, and nothing of it is recorded. It ends when you\n"
    "leave it, with -d when it is stopped, and after `dev.idle` without use. Without `experiment=`: in the one that this\n"
    "directory has.",
    *EXPERIMENT,
    switch("--watch", help="run the experiment's command, or the one behind `--`, again whenever the code is saved"),
    switch("--ssh", help="say how VS Code, PyCharm, ssh, sftp and rsync enter it"),
    switch("--kernel", help="have a kernel in it for a Jupyter on this machine; ipykernel is added to the image"),
    DETACH,
    *_IN_CONTAINER[:-1],
    IN_IMAGE,
    Argument("--name", help="of the container, for `launch attach NAME`"),
    QUIET,
    usage="[experiment=NAME] [KEY=VALUE ...] [--watch] [--ssh] [--kernel] [-d] [OPTIONS] [-- COMMAND ...]",
    takes_command=True,
    needs_terminal=True,
)
def dev(options: Options) -> int:
    from launcher.cli.dev.work import work
    from launcher.cli.terminal import need_terminal

    if options.watch and options.detach:
        raise dev.wrong_usage("--watch stays here and shows what it runs: not with -d")
    if not (options.command or options.watch or options.detach):
        need_terminal("`launch dev experiment=NAME -- COMMAND` needs none, and with -d it goes on without you")
    return work(options)


@Command(
    "notebook",
    "JupyterLab in an experiment's container, on your own files",
    "Start JupyterLab in a container of `launch dev`, print its address on loopback, with its token, and open it. Notebooks are\n"
    "files of the project. JupyterLab is added to the experiment's image. Without `experiment=`: in the container that this\n"
    "directory has. Ctrl-C ends it.",
    *EXPERIMENT,
    Argument("--port", type=int, default=0, metavar="N", help="of 127.0.0.1; a free one otherwise"),
    switch("--no-browser", help="only print the address"),
    *_IN_CONTAINER[:-1],
    IN_IMAGE,
    Argument("--name", help="of the container"),
    QUIET,
    usage="[experiment=NAME] [KEY=VALUE ...] [--port N] [--no-browser] [OPTIONS]",
    needs_terminal=True,
)
def notebook(options: Options) -> int:
    from launcher.cli.dev.work import open_notebook

    if not 0 <= options.port < 1 << 16:
        raise notebook.wrong_usage("--port takes a number up to 65535")
    return open_notebook(options)


@Command(
    "ssh-proxy",
    "what SSH clients talk to, to enter a container of `launch dev`",
    "Serve SSH on stdin and stdout, for the ProxyCommand that `launch dev --ssh` writes; nobody has to type it.",
    Argument("host", metavar="HOST", help="NAME.launch"),
    usage="HOST",
    needs_terminal=True,
    is_typed=False,
)
def ssh_proxy(options: Options) -> int:
    if sys.stdin.isatty():
        raise ssh_proxy.wrong_usage("it is spoken to by SSH clients, not at a terminal")
    from launcher.cli.dev.ssh_access import refuse_without_ssh

    refuse_without_ssh()
    from launcher.cli.dev.ssh_server import serve_ssh

    return serve_ssh(options.host)


@Command(
    "kernel-proxy",
    "what a Jupyter on this machine starts for a kernel in a container",
    "Run a kernel in the container NAME and relay its ports, for the kernel spec that `launch dev --kernel` writes; nobody has\n"
    "to type it.",
    Argument("name", metavar="NAME", help="of a container of `launch dev`"),
    Argument("file", metavar="CONNECTION_FILE", help="Jupyter's, with the ports and the key", type=Path),
    usage="NAME CONNECTION_FILE",
    needs_terminal=True,
    is_typed=False,
)
def kernel_proxy(options: Options) -> int:
    from launcher.cli.dev.kernel import run_kernel

    return run_kernel(options.name, options.file)


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
    needs_terminal=True,
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
    return run_inside(record, options.command, options, with_stdin=options.interactive, on_terminal=options.tty).code


@Command(
    "shell",
    "a shell in the container of a run, or in an experiment's environment",
    "Open a shell in the container of a run, beside its program. Of a run that has ended: in a new container as it had, with\n"
    "its outputs, checkpoints and working directory as it left them; they may be changed there, and its own stay as they are.\n"
    "Or, with `experiment=NAME`, in a new container as a run of it would have: image, code, data, caches, variables, GPUs,\n"
    "limits. A new container is no run, and ends with the shell (`launch dev` has your code live in it). bash where there is\n"
    "one, else sh; `-- COMMAND` runs another program on the terminal.",
    Argument(
        "overrides",
        nargs="*",
        metavar="RUN | KEY=VALUE",
        help="a run; or overrides in Hydra's grammar, of which `experiment=NAME` chooses the experiment",
        completed_by=["runs", "experiments", "keys"],
    ),
    *EXPERIMENT[1:],
    *_IN_CONTAINER,
    IN_IMAGE,
    QUIET,
    usage="RUN [KEY=VALUE ...] [--node K] [--user USER] [--env K=V] [--workdir DIR] [-- COMMAND ...]\n"
    "       launch shell experiment=NAME [KEY=VALUE ...] [-- COMMAND ...]",
    takes_command=True,
    needs_terminal=True,
)
def shell(options: Options) -> int:
    from launcher.cli.terminal import need_terminal

    need_terminal("`launch exec RUN -i -- sh` reads commands from a pipe")
    runs = [word for word in options.overrides if "=" not in word]
    if options.overrides and not runs:
        from launcher.cli.dev.work import shell_of_experiment

        return shell_of_experiment(options)
    if len(runs) != 1:
        raise ConfigError("no run to open a shell in", hint="`launch shell @last`, or `launch shell experiment=NAME`")
    from launcher.cli.dev.work import shell_of_run

    return shell_of_run(runs[0], options)


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
    switch("--json", help="its record as JSON on stdout, as `launch runs show RUN --json` prints it"),
    usage="RUN [--json]",
)
def wait(options: Options) -> int:
    from launcher.cli.runs.control import wait_for_run

    return wait_for_run(options.run, as_json=options.json)
