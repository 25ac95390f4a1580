"""`launch doctor`: what this machine, or the cluster that it submits to, can do, and what to do about the rest."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.errors import ConfigError
from runtime.state_dir import state_dir

if TYPE_CHECKING:
    from runtime.host.finding import Finding


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("doctor", "Check what this machine can do, or a cluster.", usage="[--cluster [--probe]] [--json]")
    parser.add_argument("--cluster", action="store_true", help="Slurm, LAUNCH_HOME's file system, and what would fail there")
    parser.add_argument("--probe", action="store_true", help="with --cluster: ask a node of each partition, by a job of a minute")
    parser.add_argument("--scratch", metavar="DIR", help="with --probe: try this `cluster.scratch`")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    if (options.probe or options.scratch) and not options.cluster:
        raise ConfigError("a probe is of a cluster", hint="`launch doctor --cluster --probe`")
    if options.scratch and not options.probe:
        raise ConfigError("`--scratch` is tried on a node", hint="`launch doctor --cluster --probe --scratch=DIR`")
    checks = _cluster_checks(probe=options.probe, scratch=options.scratch) if options.cluster else _machine_checks()
    if options.json:
        from runtime.host.finding import to_documents

        json.dump({"launch_home": str(state_dir().root), "checks": to_documents(checks)}, sys.stdout, indent=2)
        print()
        return 0
    _show(checks)
    if options.cluster and not options.probe:
        print("\n`launch doctor --cluster --probe` asks a node of each partition: LAUNCH_HOME there, containers, GPUs, scratch")
    return 0


def _machine_checks() -> dict[str, Finding]:
    from runtime.host.report import report

    return report()


def _cluster_checks(*, probe: bool, scratch: str | None) -> dict[str, Finding]:
    from launcher.cluster.checkup.report import cluster_report

    return cluster_report(state_dir(), probe=probe, scratch=scratch)


def _show(checks: Mapping[str, Finding]) -> None:
    print(f"LAUNCH_HOME  {render.home_relative(state_dir().root)}")
    width = max(map(len, checks))
    for name, check in checks.items():
        mark = render.styled("✔", "green", sys.stdout) if check.ok else render.styled("·", "yellow", sys.stdout)
        print(f"{mark} {name:<{width}}  {check.detail}")
        for line in (check.advice, check.command and f"$ {check.command}"):
            if line:
                print(f"  {'':<{width}}  {line}")
