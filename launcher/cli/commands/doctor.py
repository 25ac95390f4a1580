"""`launch doctor`: what this machine can do, and what to do about the rest."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from launcher.cli import arguments as args
from launcher.cli import render
from runtime.state_dir import state_dir


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("doctor", "Check what this machine can do.", usage="[--json]")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    from runtime.host.report import report

    checks = report()
    if options.json:
        json.dump({"launch_home": str(state_dir().root), "checks": [asdict(check) for check in checks]}, sys.stdout, indent=2)
        print()
        return 0
    print(f"LAUNCH_HOME  {render.home_relative(state_dir().root)}")
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark = render.styled("✔", "green", sys.stdout) if check.ok else render.styled("·", "yellow", sys.stdout)
        print(f"{mark} {check.name:<{width}}  {check.detail}")
        for line in (check.advice, check.command and f"$ {check.command}"):
            if line:
                print(f"  {'':<{width}}  {line}")
    return 0
