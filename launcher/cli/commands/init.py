"""`launch init DIR`: a project of your own, ready to launch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launcher.cli import arguments as args
from launcher.cli import render


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("init", "Make a project: conf/, experiments/, a README, ready to launch.", usage="DIR")
    parser.add_argument("directory", type=Path, metavar="DIR", help="made if missing; existing files are never overwritten")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from launcher.config.project import init_project

    for path in init_project(options.directory):
        print(path)
    render.say(f"\nnext: cd {options.directory} && launch list")
    return 0
