"""`launch lock experiment=NAME …`: write the hash-locked requirements next to the experiment's file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from launcher.cli import arguments as args
from launcher.cli import render


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "lock", "Lock the requirements of an experiment.", usage="experiment=NAME [KEY=VALUE ...] [--format FORMAT]"
    )
    args.add_experiment_options(parser)
    parser.add_argument(
        "--format", choices=["requirements.txt", "pylock.toml"], default="requirements.txt", help="form of the lock file"
    )
    parser.add_argument("--upgrade", action="store_true", help="ask the index and the archive anew, whatever was taken before")
    options, request = args.parse(parser, arguments)
    from launcher.cli.prepare import compose
    from launcher.cli.progress import planning_progress
    from launcher.plan.requirements.lock_experiment import lock_experiment
    from runtime.build.step_label import counted
    from runtime.state_dir import state_dir

    state = state_dir().ensure()
    composed = compose(request, state)
    with planning_progress() as observer:
        written = lock_experiment(
            composed,
            state=state,
            environ=os.environ,
            cwd=Path.cwd(),
            format=options.format,
            refresh=options.upgrade,
            observer=observer,
        )
    for path in dict.fromkeys(filter(None, (written.path, written.base_path))):
        print(path)
    for change in written.changes:
        render.say(f"  {change}")
    if not written.lock.python:
        render.say("the base is locked; there are no requirements")
        return 0
    render.say(
        f"{counted(len(written.lock.wheels), 'package')} locked for Python {written.lock.python} on {written.lock.platform}"
    )
    return 0
