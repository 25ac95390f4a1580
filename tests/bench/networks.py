"""`/bin/true` in a container with each network, whole: beside `podman run` on the same root. Needs podman.

    python tests/bench/networks.py           as root: bridges; as an ordinary user: pasta, which podman has for those alone

The root is a skeleton with the machine's own /usr, so that nothing is built. Ours runs inside this process, as in a supervisor
that is there already; podman's is the whole command, as there is no other way to have it.

crun, podman's runtime, refuses to start on a machine with both cgroup versions mounted; then this runs in a mount namespace
without the second. Where `nft` is missing, podman gets its rules by iptables.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from paired import Case, measure, parser, timed

from runtime.container.lifecycle import remove_overlay
from runtime.container.run_once import run_to_completion
from runtime.network.published import PublishedPort
from tests.kernel.userland import base_layer, make_spec

IN_OWN_MOUNTS = "LAUNCH_BENCH_IN_OWN_MOUNTS"
HYBRID = Path("/sys/fs/cgroup/unified")
TRUE = "/usr/bin/true"

_numbers = itertools.count(1)


def main() -> None:
    options = parser(__doc__, rounds=20)
    chosen = options.parse_args()
    if shutil.which("podman") is None:
        options.error("this needs podman (`apt-get install podman`)")
    if os.geteuid() != 0:
        _without_root(chosen.rounds)
        return
    if IN_OWN_MOUNTS not in os.environ:
        leave = f"if mountpoint -q {HYBRID}; then umount {HYBRID}; fi; "
        command = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            leave + 'exec "$@"',
            "_",
            sys.executable,
            *sys.argv,
        ]
        os.execvpe(command[0], command, {**os.environ, IN_OWN_MOUNTS: "1"})
    with tempfile.TemporaryDirectory(prefix="launch-bench-") as scratch:
        root = base_layer(Path(scratch) / "root")
        (root / "host/usr").mkdir(parents=True)
        cases = [Case(f"podman run --network {network}", _podman(root, network)) for network in ("bridge", "none")]
        cases += [
            Case("launch: none", _ours(Path(scratch))),
            Case("launch: bridge", _ours(Path(scratch), network="bridge")),
            Case("launch: named network", _ours(Path(scratch), network="bridge", network_name="bench")),
            Case("launch: bridge and a published port", _ours(Path(scratch), network="bridge", publish=(PublishedPort(80),))),
        ]
        measure("Container with a network, /bin/true, whole", cases, rounds=chosen.rounds, warmups=2)
        _compare(cases, "launch: bridge", "podman run --network bridge", at_most=1 / 4)


def _without_root(rounds: int) -> None:
    """podman gets runc where crun refuses to start."""
    runtime = ("--runtime", "runc") if HYBRID.exists() else ()
    with tempfile.TemporaryDirectory(prefix="launch-bench-") as scratch:
        root = base_layer(Path(scratch) / "root")
        (root / "host/usr").mkdir(parents=True)
        cases = [
            Case("podman run --network pasta", _podman(root, "pasta", *runtime)),
            Case("launch: none", _ours(Path(scratch))),
            Case("launch: pasta", _ours(Path(scratch), network="pasta")),
        ]
        measure("Container with a network, /bin/true, whole, without root", cases, rounds=rounds, warmups=2)
        _compare(cases, "launch: pasta", "podman run --network pasta", at_most=1 / 2)


def _compare(cases: list[Case], ours: str, theirs: str, *, at_most: float) -> None:
    """One figure of the target table: round by round, as the ratios of the table above."""
    named = {case.name: case for case in cases}
    if ours in named and theirs in named:
        pairs = zip(named[ours].seconds, named[theirs].seconds, strict=True)
        ratio = statistics.median(own / other for own, other in pairs)
        print(f"`{ours}` takes {ratio:.2f} of `{theirs}` (wanted: {at_most:.2f} or less)\n")


def _ours(scratch: Path, **network: object) -> Callable[[], float]:
    def once() -> float:
        spec = make_spec(
            scratch, TRUE, container_id=f"bench-{os.getpid()}-{next(_numbers)}", overlay_dir=scratch / "overlay", **network
        )

        def whole() -> None:
            ended, said = run_to_completion(spec, timeout_s=30)
            if ended.code != 0:
                raise SystemExit(f"the container ended with {ended}: {said.decode(errors='replace')}")

        seconds = timed(whole)
        remove_overlay(spec.overlay_dir)
        return seconds

    return once


def _podman(root: Path, network: str, *engine: str) -> Callable[[], float]:
    command = ["podman", *engine, "run", "--rm", "--network", network]
    command += ["--volume", "/usr:/host/usr:ro", "--rootfs", str(root), TRUE]
    environ = dict(os.environ) if shutil.which("nft") else {**os.environ, "NETAVARK_FW": "iptables"}
    return lambda: timed(lambda: subprocess.run(command, check=True, capture_output=True, timeout=60, env=environ))


if __name__ == "__main__":
    main()
