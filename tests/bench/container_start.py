"""`/bin/true` in a container, from nothing to nothing, inside a running launcher: beside crun, runc and podman on the same root.

    python tests/bench/container_start.py

Needs root and crun; runc and podman take part where they are. Ours is create, start, wait and delete: overlay, cgroup with
limits, all namespaces, user namespace with id-mapped layers, system call filter, and everything removed again. A peer is a whole
command, as there is no other way to have it. It gets the same root mounted already, in a bundle with the same namespaces and
limits, without a filter (as `crun spec` makes it). Without a network ratios are to crun, with a bridge to podman. In the last
table the program is `date`, which says when it ran: the figure ends there.

Peers refuse to start on a machine with both cgroup versions mounted; then this runs in a mount namespace without the second
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
from paired import Case, measure, parser, timed

from runtime.cgroup.limits import Limits
from runtime.container.lifecycle import remove_overlay
from runtime.container.run_once import run_to_completion
from runtime.container.spec import ContainerSpec
from runtime.network.mode import NetworkMode
from runtime.store.store import Store

NOW = ("/usr/bin/date", "+%s.%N")
TRUE = ("/usr/bin/true",)
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
    root = bundle / "rootfs"
    try:
        none = [Case("crun run", lambda: _oci("crun", bundle)), Case("launch", lambda: _ours(scratch, layers, "none"))]
        if shutil.which("runc"):
            none.append(Case("runc run", lambda: _oci("runc", bundle)))
        bridge = [Case("launch", lambda: _ours(scratch, layers, "bridge"))]
        if shutil.which("podman"):
            none.append(Case("podman run", lambda: _podman(root, "none")))
            bridge.insert(0, Case("podman run", lambda: _podman(root, "bridge")))
        measure("/bin/true, network none: whole", none, rounds=chosen.rounds, warmups=3)
        measure("/bin/true, network bridge: whole", bridge, rounds=chosen.rounds, warmups=3)
        _bundle(scratch, layers, NOW)
        started = [
            Case("crun run", lambda: _until_date(lambda: _said_by_crun(bundle))),
            Case("launch", lambda: _until_date(lambda: _said_by_ours(scratch, layers))),
        ]
        measure("Start to the program, network none", started, rounds=chosen.rounds, warmups=3)
    finally:
        subprocess.run(["umount", str(root)], check=True)


def _until_date(start: Callable[[], bytes]) -> float:
    # The program's clock is the machine's: CLOCK_REALTIME is in no namespace.
    began_at = time.time()
    return float(start().splitlines()[-1]) - began_at


_numbers = itertools.count(1)


def _spec(scratch: Path, layers: tuple[Path, ...], argv: tuple[str, ...], network: NetworkMode) -> ContainerSpec:
    container_id = f"bench-{os.getpid()}-{next(_numbers)}"
    return ContainerSpec(
        container_id=container_id,
        layers=layers,
        overlay_dir=scratch / container_id,
        argv=argv,
        env={"PATH": "/usr/bin"},
        limits=Limits(memory_bytes=MEMORY, cpus=1, pids=100),
        network=network,
    )


def _run(spec: ContainerSpec) -> bytes:
    ended, said = run_to_completion(spec, timeout_s=30)
    remove_overlay(spec.overlay_dir)
    if ended.code != 0:
        raise SystemExit(f"the container ended with {ended}: {said.decode(errors='replace')}")
    return said


def _ours(scratch: Path, layers: tuple[Path, ...], network: NetworkMode) -> float:
    spec = _spec(scratch, layers, TRUE, network)
    return timed(lambda: _run(spec))


def _said_by_ours(scratch: Path, layers: tuple[Path, ...]) -> bytes:
    return _run(_spec(scratch, layers, NOW, "none"))


def _oci(runtime: str, bundle: Path) -> float:
    command = [runtime, "run", "--bundle", str(bundle), f"bench-{os.getpid()}-{next(_numbers)}"]
    return timed(lambda: subprocess.run(command, check=True, capture_output=True, timeout=30))


def _said_by_crun(bundle: Path) -> bytes:
    command = ["crun", "run", "--bundle", str(bundle), f"bench-{os.getpid()}-{next(_numbers)}"]
    return subprocess.run(command, check=True, capture_output=True, timeout=30).stdout


def _podman(root: Path, network: str) -> float:
    command = ["podman", "run", "--rm", "--network", network, "--rootfs", str(root), *TRUE]
    environ = dict(os.environ) if shutil.which("nft") else {**os.environ, "NETAVARK_FW": "iptables"}
    return timed(lambda: subprocess.run(command, check=True, capture_output=True, timeout=120, env=environ))


def _layers(launch: launches.Launch) -> tuple[Path, ...]:
    """The layers of `digits`: a realistic stack."""
    digest = json.loads(launch.output("build", "experiment=digits", "--json"))["image_digest"]
    store = Store(launch.home / "store")
    return tuple(store.layer_dir(layer) for layer in store.image(digest).layers)


def _bundle(scratch: Path, layers: tuple[Path, ...], argv: tuple[str, ...] = TRUE) -> Path:
    """An OCI bundle that runs *argv* and whose root is the same layers, mounted once."""
    bundle = scratch / "bundle"
    if not bundle.exists():
        _mount(bundle, layers)
    (bundle / "config.json").unlink(missing_ok=True)
    subprocess.run(["crun", "spec"], check=True, cwd=bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"args": list(argv), "terminal": False}
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


def _mount(bundle: Path, layers: tuple[Path, ...]) -> None:
    for name in ("rootfs", "upper", "work"):
        (bundle / name).mkdir(parents=True)
    # Short names: mount(8) hands options over in one page.
    for number, layer in enumerate(reversed(layers)):
        (bundle / str(number)).symlink_to(layer)
    lower = ":".join(map(str, range(len(layers))))
    words = ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir=upper,workdir=work", "rootfs"]
    subprocess.run(words, check=True, cwd=bundle)


if __name__ == "__main__":
    main()
