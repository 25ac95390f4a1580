"""`launch doctor`: what this machine, or the cluster that it submits to, can do, and what to do about the rest."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from launcher.cli import render
from runtime.state_dir import state_dir

if TYPE_CHECKING:
    from runtime.host.finding import Finding


def check_machine(*, as_json: bool) -> int:
    from launcher.cli.dev.ssh_access import find_ssh
    from runtime.host.report import report

    return _show({**report(), "ssh": find_ssh()}, as_json=as_json)


def check_cluster(*, probe: bool, scratch: str | None, as_json: bool) -> int:
    from launcher.cluster.checkup.report import cluster_report

    code = _show(cluster_report(state_dir(), probe=probe, scratch=scratch), as_json=as_json)
    if not probe and not as_json:
        print("\n`launch doctor --cluster --probe` asks a node of each partition: LAUNCH_HOME there, containers, GPUs, scratch")
    return code


def _show(checks: Mapping[str, Finding], *, as_json: bool) -> int:
    if as_json:
        from runtime.host.finding import to_documents

        render.print_json({"launch_home": str(state_dir().root), "checks": to_documents(checks)})
        return 0
    print(f"LAUNCH_HOME  {render.home_relative(state_dir().root)}")
    width = max(map(len, checks))
    for name, check in checks.items():
        mark = render.styled("✔", "green", sys.stdout) if check.ok else render.styled("·", "yellow", sys.stdout)
        print(f"{mark} {name:<{width}}  {check.detail}")
        for line in (check.advice, check.command and f"$ {check.command}"):
            if line:
                print(f"  {'':<{width}}  {line}")
    return 0
