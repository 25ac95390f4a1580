"""A container from fork to its program, network none, beside `crun run` on the same root. Needs root and crun.

    python tests/bench/container_start.py

Ours counts overlay, cgroup with limits, all namespaces and the system call filter. crun gets the same root mounted already, and a
bundle with the same namespaces and limits, without a filter (as `crun spec` makes it). The program is `date`, which says when it
ran: the figure ends before its exit. "whole" goes on until everything is reaped and the cgroup removed.

crun refuses to start on a machine with both cgroup versions mounted; then this runs in a mount namespace without the second
(runtime features are not touched by that: limits are with version 1 there).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import launches
from paired import Case, measure, parser

from runtime.cgroup.limits import Limits
from runtime.container.lifecycle import remove_overlay
from runtime.container.run_once import run_to_completion
from runtime.container.spec import ContainerSpec
from runtime.store.store import Store

NOW = ("/usr/bin/date", "+%s.%N")
MEMORY = 256 << 20
IN_OWN_MOUNTS = "LAUNCH_BENCH_IN_OWN_MOUNTS"
HYBRID = Path("/sys/fs/cgroup/unified")


def main() -> None:
    options = parser(__doc__, rounds=30)
    launches.add_options(options)
    chosen = options.parse_args()
    if os.geteuid() != 0 or shutil.which("crun") is None:
        options.error("this needs root, and crun (`apt-get install crun`)")
    if IN_OWN_MOUNTS not in os.environ:
        _again_in_own_mounts()
    with tempfile.TemporaryDirectory(prefix="launch-bench-") as scratch:
        _measure(chosen, Path(scratch))


def _again_in_own_mounts() -> None:
    """Start over in a mount namespace of its own: what is mounted here ends with it."""
    leave = f"if mountpoint -q {HYBRID}; then umount {HYBRID}; fi; "
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", leave + 'exec "$@"', "_", sys.executable, *sys.argv]
    os.execvpe(command[0], command, {**os.environ, IN_OWN_MOUNTS: "1"})


def _measure(chosen: argparse.Namespace, scratch: Path) -> None:
    layers = _layers(launches.launches(chosen)[0])
    os.chmod(scratch, 0o755)
    bundle = _bundle(scratch, layers)
    ours = _Started(lambda: _ours(scratch, layers))
    crun = _Started(lambda: _crun(bundle))
    cases = [
        Case("launch: fork to the program", ours.first),
        Case("launch: whole", ours.whole),
        Case("crun run: start to the program", crun.first),
        Case("crun run: whole", crun.whole),
    ]
    try:
        measure("Container start, network none", cases, rounds=chosen.rounds, warmups=3)
    finally:
        subprocess.run(["umount", str(bundle / "rootfs")], check=True)


class _Started:
    """One start gives two figures: until the program ran, and the whole of it."""

    def __init__(self, start: Callable[[], bytes]) -> None:
        self._start = start
        self._whole = 0.0

    def first(self) -> float:
        # The program's clock is the machine's: CLOCK_REALTIME is in no namespace.
        began_at, begun = time.time(), time.perf_counter()
        said = self._start()
        self._whole = time.perf_counter() - begun
        return float(said.splitlines()[-1]) - began_at

    def whole(self) -> float:
        return self._whole


_numbers = itertools.count(1)


def _ours(scratch: Path, layers: tuple[Path, ...]) -> bytes:
    container_id = f"bench-{os.getpid()}-{next(_numbers)}"
    spec = ContainerSpec(
        container_id=container_id,
        layers=layers,
        overlay_dir=scratch / container_id,
        argv=NOW,
        env={"PATH": "/usr/bin"},
        limits=Limits(memory_bytes=MEMORY, cpus=1, pids=100),
    )
    ended, said = run_to_completion(spec, timeout_s=30)
    remove_overlay(spec.overlay_dir)
    if ended.code != 0:
        raise SystemExit(f"the container ended with {ended}: {said.decode(errors='replace')}")
    return said


def _crun(bundle: Path) -> bytes:
    command = ["crun", "run", "--bundle", str(bundle), f"bench-{os.getpid()}-{next(_numbers)}"]
    return subprocess.run(command, check=True, capture_output=True, timeout=30).stdout


def _layers(launch: launches.Launch) -> tuple[Path, ...]:
    """The layers of `digits`: a realistic stack."""
    digest = json.loads(launch.output("build", "experiment=digits", "--json"))["image_digest"]
    store = Store(launch.home / "store")
    return tuple(store.layer_dir(layer) for layer in store.image(digest).layers)


def _bundle(scratch: Path, layers: tuple[Path, ...]) -> Path:
    """An OCI bundle whose root is the same layers, mounted once."""
    bundle = scratch / "bundle"
    for name in ("rootfs", "upper", "work"):
        (bundle / name).mkdir(parents=True)
    # Short names: mount(8) hands options over in one page.
    for number, layer in enumerate(reversed(layers)):
        (bundle / str(number)).symlink_to(layer)
    lower = ":".join(map(str, range(len(layers))))
    words = ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir=upper,workdir=work", "rootfs"]
    subprocess.run(words, check=True, cwd=bundle)
    subprocess.run(["crun", "spec"], check=True, cwd=bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"args": list(NOW), "terminal": False}
    config["linux"]["resources"] = {
        "memory": {"limit": MEMORY},
        "cpu": {"quota": 100_000, "period": 100_000},
        "pids": {"limit": 100},
    }
    config["linux"]["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 1879048192, "size": 65536}]
    config["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle


if __name__ == "__main__":
    main()
