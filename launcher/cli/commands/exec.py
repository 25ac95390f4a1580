"""`launch exec RUN -- COMMAND`: run a program in the container of a run, beside its own."""

from __future__ import annotations

import os
from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import inside
from launcher.errors import ConfigError
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "exec",
        "Run a program in the container of a run: with the namespaces, limits, rights and variables of the run's own program.\n"
        "Exits with the program's code. When this command ends early, the program gets SIGHUP.",
        usage="RUN [--node K] [-i] [-t] [--user USER] [--env K=V] [--workdir DIR] -- COMMAND ...",
    )
    parser.add_argument("run", metavar="RUN", help="a short prefix, a name, @last or an MLflow run id")
    parser.add_argument("-i", "--interactive", action="store_true", help="give it our stdin; without it, it has none")
    parser.add_argument("-t", "--tty", action="store_true", help="give it a terminal")
    inside.add_options(parser)
    args.add_node_option(parser)
    args.add_debug_options(parser)
    at = list(arguments).index("--") if "--" in arguments else len(arguments)
    options, command = parser.parse_args(arguments[:at]), tuple(arguments[at + 1 :])
    args.apply_debug(options)
    if not command:
        raise ConfigError("no command to run", hint=f"`launch exec {options.run} -- ls -l`, or `launch shell {options.run}`")
    if options.tty and options.interactive:
        inside.need_terminal("without one: `-i` alone")
    from launcher.run.living import living_run

    return inside.run_inside(
        living_run(state_dir(), options.run, node=options.node),
        command,
        env=inside.variables(options.env, os.environ),
        cwd=options.workdir,
        user=options.user,
        with_stdin=options.interactive,
        on_terminal=options.tty,
    )
