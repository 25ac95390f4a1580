"""Commands for an experiment that is described: launch it, plan it, lock it; list what there is, begin a project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from launcher.cli.arguments import (
    CONFIG_DIR,
    DETACH,
    EXPERIMENT,
    IN_IMAGE,
    JSON,
    NAME,
    QUIET,
    RECORD,
    TIMINGS,
    Talk,
    request_of,
    without_hydras_own,
)
from launcher.cli.command import Argument, Command, Group, Options, switch
from launcher.errors import ConfigError


@Command(
    "run",
    "run an experiment (the default: `launch experiment=digits`)",
    "Run an experiment: build what is missing, run it in a container, record it.",
    *EXPERIMENT,
    switch("-m", "--multirun", help="sweep: every combination of the values given as `key=a,b` or by `sweep.space`"),
    DETACH,
    switch("-i", "--interactive", help="with -t: what is typed goes to the program"),
    switch("-t", "--tty", help="with -i: give the program a terminal, for a debugger (`-it`)"),
    Argument(
        "--from-dev",
        metavar="NAME",
        help="of a container of `launch dev`: its code as it is now, what was installed in it, the last command given to it",
        completed_by=["runs"],
    ),
    QUIET,
    NAME,
    Argument("--note", help="a note for the record"),
    IN_IMAGE,
    switch("--no-wait", help="fail at once when its GPUs are taken, and say by whom"),
    switch("--dry-run", help="the same as `launch plan`"),
    Argument("-c", "--cfg", choices=["job"], help="print the resolved configuration as YAML and stop"),
    TIMINGS,
    switch("--json", help=f"{RECORD.settings['help']}; with --dry-run the plan"),
    usage="experiment=NAME [KEY=VALUE ...] [OPTIONS] [-- COMMAND ...]",
    takes_command=True,
    rewrite=without_hydras_own,
)
def run(options: Options) -> int:
    from launcher.cli.timings import Timings

    timings, patch = Timings(), ""
    if options.from_dev is None:
        request = request_of(options)
    else:
        from launcher.cli.dev.freeze import freeze

        request, patch = freeze(options.from_dev, options)
    if options.dry_run:
        from launcher.cli.plan import show_plan

        return show_plan(request, Talk.of(options), as_json=options.json)
    if options.cfg:
        from launcher.cli.prepare import compose

        sys.stdout.write(compose(request).yaml())
        return 0
    if options.interactive != options.tty:
        raise run.wrong_usage("`-i` and `-t` go together: `launch run -it experiment=NAME`")
    if options.json and options.tty and not options.detach:
        raise run.wrong_usage("--json shows nothing of the program that -it is for; with -d it goes")
    if options.multirun:
        if options.tty:
            raise ConfigError("-it is for one run: the trials of a sweep cannot share a terminal")
        if options.no_wait:
            raise ConfigError("--no-wait is for one run: the trials of a sweep wait for one another")
        from launcher.cli.sweep.run import sweep

        return sweep(request, options, timings)
    from launcher.cli.runs.start import run_once

    return run_once(request, options, timings, patch=patch)


@Command(
    "plan",
    "show what would be built and run; nothing is touched",
    "Show what would be built and run.",
    *EXPERIMENT,
    Group(
        switch("--json", help="the plan as JSON on stdout"),
        Argument(
            "--dockerfile",
            metavar="DIR",
            type=Path,
            help="build the image and write it as a Dockerfile with its context into DIR",
        ),
    ),
    usage="experiment=NAME [KEY=VALUE ...] [--json | --dockerfile DIR]",
    takes_command=True,
)
def plan(options: Options) -> int:
    from launcher.cli.plan import show_plan, write_dockerfile

    if options.dockerfile is not None:
        return write_dockerfile(request_of(options), options.dockerfile, Talk.of(options))
    return show_plan(request_of(options), Talk.of(options), as_json=options.json)


@Command(
    "lock",
    "write the requirement lock next to the experiment",
    "Lock the requirements of an experiment.",
    *EXPERIMENT,
    Argument("--format", choices=["requirements.txt", "pylock.toml"], default="requirements.txt", help="form of the lock file"),
    switch("--upgrade", help="ask the index and the archive anew, whatever was taken before"),
    usage="experiment=NAME [KEY=VALUE ...] [--format FORMAT]",
    takes_command=True,
)
def lock(options: Options) -> int:
    from launcher.cli.plan import write_lock

    return write_lock(request_of(options), Talk.of(options), format=options.format, upgrade=options.upgrade)


@Command(
    "list",
    "the experiments that can be launched",
    "List the experiments that can be launched.",
    JSON,
    CONFIG_DIR,
    usage="[--json] [--config-dir DIR]",
)
def list_(options: Options) -> int:
    from launcher.cli import render
    from launcher.config.project import list_experiments

    experiments = list_experiments(config_dir=options.config_dir, cwd=Path.cwd(), environ=os.environ)
    if options.json:
        render.print_json([{"name": e.name, "description": e.description, "file": str(e.file)} for e in experiments])
        return 0
    rows = [(e.name, e.description or "", render.home_relative(e.file)) for e in experiments]
    print(render.table(("EXPERIMENT", "DESCRIPTION", "FILE"), rows))
    return 0


@Command(
    "init",
    "make a project of your own, or an experiment for a repository",
    "Make a project, ready to launch; of a directory with files in it, read them and write an experiment that runs them.",
    Argument("directory", type=Path, metavar="DIR", nargs="?", default=Path(), help="made if missing; the current one otherwise"),
    Argument("--name", metavar="NAME", help="of the experiment; the directory's name otherwise"),
    usage="[DIR] [--name NAME] [-- COMMAND ...]",
    takes_command=True,
    epilog="""Existing files are never overwritten. What a repository says of its environment (requirements, lock files,
pyproject.toml, environment.yml, Dockerfile, cog.yaml) and of its commands (README, scripts) is read, not executed.
Of a collection say which program is meant: `launch init -- python3 examples/vae.py --epochs=3`, or, where it is started in its
directory, `launch init -- sh -c "cd examples/vae && python3 main.py"`.""",
)
def init(options: Options) -> int:
    from launcher.cli.init import init as init_directory

    return init_directory(options.directory, options.name, command=options.command)


@Command(
    "hydra-jobs",
    "what Hydra's launcher `launch` talks to, in JSON lines",
    "Run the jobs of a Hydra program: one line of JSON a batch on stdin, one answer on stdout.",
    usage="",
    epilog="`python train.py -m hydra/launcher=launch hydra.launcher.experiment=NAME` starts it; nobody has to type it.",
    is_typed=False,
)
def hydra_jobs(options: Options) -> int:
    if sys.stdin.isatty():
        raise hydra_jobs.wrong_usage("it is spoken to by Hydra's launcher `launch`, not at a terminal")
    from launcher.cli.hydra_jobs import serve_hydra_jobs

    return serve_hydra_jobs()
