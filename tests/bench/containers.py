"""A container of `/usr/bin/true`, whole: created, started, waited for, deleted. Needs root.

Ours runs inside this process, as in a supervisor that is there already: overlay, cgroup with limits, all namespaces, user
namespace with id-mapped layers, system call filter. A peer is a whole command, as there is no other way to have it; crun and runc
get the same root mounted already, in a bundle with the same namespaces and limits, without a filter (as `crun spec` makes it).
crun refuses to start on a machine with both cgroup versions mounted; then all of it runs in a mount namespace without the second.
`oci-run` is our OCI runtime with runc's command line, the whole process, as docs/guides/oci-runtime.md has it started.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import peers
from bench import Bench
from launches import Launch
from paired import Case, Group, Line, run, timed

from runtime.cgroup.limits import Limits
from runtime.container.lifecycle import remove_overlay
from runtime.container.run_once import run_to_completion
from runtime.container.spec import ContainerSpec
from runtime.kernel import libc, mounts, processes
from runtime.network.mode import NetworkMode
from runtime.store.store import Store
from tests.kernel.oci_bundle import Runtime, configuration, write_bundle

TRUE = ("/usr/bin/true",)
MEMORY = 256 << 20

_numbers = itertools.count(1)


@contextmanager
def _containers(bench: Bench) -> Iterator[Sequence[Line]]:
    layers = _layers_of_digits(bench.launch)
    with _mounted_bundle(bench.scratch / "mounted", layers) as bundle:
        ours = _ours(bench.scratch, layers, "none")
        yield (
            Line("container start, network none", ours, _oci("crun", bundle), 1.0),
            Line("…", ours, _oci("runc", bundle)),
            Line("…", ours, _podman(bundle / "rootfs", "none")),
        )


@contextmanager
def _bridges(bench: Bench) -> Iterator[Sequence[Line]]:
    layers = _layers_of_digits(bench.launch)
    with _mounted_bundle(bench.scratch / "bridged", layers) as bundle:
        ours = _ours(bench.scratch, layers, "bridge")
        yield [Line("container start, network bridge", ours, _podman(bundle / "rootfs", "bridge"), 0.25)]


@contextmanager
def _oci_run(bench: Bench) -> Iterator[Sequence[Line]]:
    directory = bench.scratch / "oci"
    bundle = str(write_bundle(directory, configuration("true")))
    words = Runtime(directory).argv("run", "--bundle", bundle, "bench-ours")
    yield [
        Line(f"OCI `run` of `true`, {python.name}", _whole(python.name, str(python), *words[1:]), _oci("runc", Path(bundle)), 1.4)
        for python in dict.fromkeys(Path(one).resolve() for one in (sys.executable, "/usr/bin/python3"))
    ]


def _ours(scratch: Path, layers: tuple[Path, ...], network: NetworkMode) -> Case:
    def once() -> float:
        container_id = f"bench-{os.getpid()}-{next(_numbers)}"
        spec = ContainerSpec(
            container_id=container_id,
            layers=layers,
            overlay_dir=scratch / container_id,
            argv=TRUE,
            env={"PATH": "/usr/bin"},
            limits=Limits(memory_bytes=MEMORY, cpus=1, pids=100),
            network=network,
        )
        seconds = timed(lambda: _run(spec))
        remove_overlay(spec.overlay_dir)
        return seconds

    return Case("launch", once)


def _run(spec: ContainerSpec) -> None:
    ended, said = run_to_completion(spec, timeout_s=30)
    if ended.code != 0:
        raise SystemExit(f"the container ended with {ended}: {said.decode(errors='replace')}")


def _oci(runtime: str, bundle: Path) -> Case | str:
    if shutil.which(runtime) is None:
        return f"{runtime}: not installed"
    return _whole(f"`{runtime} run`", runtime, "run", "--bundle", str(bundle), f"bench-{os.getpid()}-{next(_numbers)}")


def _podman(root: Path, network: str) -> Case | str:
    if shutil.which("podman") is None:
        return "podman: not installed"
    words = ("podman", "run", "--rm", "--network", network, "--rootfs", str(root), *TRUE)
    return _whole("`podman run`", *words, **({} if shutil.which("nft") else {"NETAVARK_FW": "iptables"}))


def _whole(name: str, *words: str, **environ: str) -> Case:
    # Without a timeout: Popen.wait with one looks after 1, 3, 7, … 63, 113 ms, and that would be the figure.
    null, env = subprocess.DEVNULL, {**os.environ, **environ}
    return Case(name, lambda: timed(lambda: subprocess.run(words, check=True, stdin=null, stdout=null, env=env)))


def _layers_of_digits(launch: Launch) -> tuple[Path, ...]:
    """A realistic stack."""
    digest = json.loads(launch.output("build", "experiment=digits", "--json"))["image_digest"]
    store = Store(launch.home / "store")
    return tuple(store.layer_dir(layer) for layer in store.image(digest).layers)


@contextmanager
def _mounted_bundle(bundle: Path, layers: tuple[Path, ...]) -> Iterator[Path]:
    """An OCI bundle that runs `true` and whose root is *layers*, mounted once, where no second cgroup version is mounted."""
    with _in_own_mounts():
        for name in ("rootfs", "upper", "work"):
            (bundle / name).mkdir(parents=True)
        # Short names: mount(8) hands options over in one page.
        for number, layer in enumerate(reversed(layers)):
            (bundle / str(number)).symlink_to(layer)
        lower = ":".join(map(str, range(len(layers))))
        options = f"lowerdir={lower},upperdir=upper,workdir=work"
        run("mount", "-t", "overlay", "overlay", "-o", options, "rootfs", cwd=bundle)
        try:
            (bundle / "config.json").write_text(json.dumps(_configuration(bundle)))
            yield bundle
        finally:
            run("umount", str(bundle / "rootfs"))


def _configuration(bundle: Path) -> dict[str, object]:
    run("crun", "spec", cwd=bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"args": list(TRUE), "terminal": False}
    limits = {"memory": {"limit": MEMORY}, "cpu": {"quota": 100_000, "period": 100_000}, "pids": {"limit": 100}}
    mapping = [{"containerID": 0, "hostID": 1879048192, "size": 65536}]
    config["linux"] |= {"resources": limits, "uidMappings": mapping, "gidMappings": mapping}
    config["linux"]["namespaces"].append({"type": "user"})
    return dict(config)


@contextmanager
def _in_own_mounts() -> Iterator[None]:
    """This process, which has one thread, in a mount namespace without the second cgroup version."""
    before = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    directory = os.getcwd()
    libc.unshare(processes.NEWNS)
    mounts.make_private()
    if peers.HYBRID.exists() and peers.HYBRID.is_mount():
        libc.umount(peers.HYBRID)
    try:
        yield
    finally:
        libc.setns(before)
        os.chdir(directory)
        os.close(before)


GROUPS = (
    Group("container", _containers, rounds=30, warmups=3),
    Group("oci-run", _oci_run, rounds=30, warmups=3),
    Group("bridge", _bridges, rounds=20, warmups=2, only_named=True),
)
