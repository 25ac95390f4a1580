"""Commands for an experiment that is described: launch it, plan it, lock it; list what there is, begin a project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from launcher.cli.arguments import CONFIG_DIR, DETACH, EXPERIMENT, IN_IMAGE, JSON, NAME, QUIET, TIMINGS, Talk, request_of
from launcher.cli.command import Argument, Command, Group, Options, switch
from launcher.errors import ConfigError


@Command(
    "run",
    "run an experiment (the default: `launch experiment=digits`)",
    "Run an experiment: build what is missing, run it in a container, record it.",
    *EXPERIMENT,
    switch("-m", "--multirun", help="sweep: every combination of the values given as `key=a,b` or by `sweep.space`"),
    DETACH,
    QUIET,
    NAME,
    Argument("--note", help="a note for the record"),
    IN_IMAGE,
    switch("--no-wait", help="fail at once when its GPUs are taken, and say by whom"),
    switch("--dry-run", help="the same as `launch plan`"),
    Argument("--cfg", choices=["job"], help="print the resolved configuration as YAML and stop"),
    TIMINGS,
    switch("--json", help="with --dry-run: the plan as JSON"),
    usage="experiment=NAME [KEY=VALUE ...] [OPTIONS] [-- COMMAND ...]",
    takes_command=True,
)
def run(options: Options) -> int:
    from launcher.cli.timings import Timings

    timings, request = Timings(), request_of(options)
    if options.dry_run:
        from launcher.cli.plan import show_plan

        return show_plan(request, Talk.of(options), as_json=options.json)
    if options.cfg:
        from launcher.cli.prepare import compose

        sys.stdout.write(compose(request).yaml())
        return 0
    if options.multirun:
        if options.no_wait:
            raise ConfigError("--no-wait is for one run: the trials of a sweep wait for one another")
        from launcher.cli.sweep.run import sweep

        return sweep(request, options, timings)
    from launcher.cli.runs.start import run_once

    return run_once(request, options, timings)


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
    "make a project of your own",
    "Make a project: conf/, experiments/, a README, ready to launch.",
    Argument("directory", type=Path, metavar="DIR", help="made if missing; existing files are never overwritten"),
    usage="DIR",
)
def init(options: Options) -> int:
    from launcher.cli import render
    from launcher.config.project import init_project

    for path in init_project(options.directory):
        print(path)
    render.say(f"\nnext: cd {options.directory} && launch list")
    return 0
