"""An image of numpy + scikit-learn + pandas (525 MB) to and from a registry on loopback, beside podman, skopeo and Docker.

    python tests/bench/registry.py
    DOCKER_HOST=unix:///… python tests/bench/registry.py     # and beside Docker

Everybody has the same image with the same layers (the others pulled it before the clock started), and every push is into a
registry that holds nothing. Needs `docker-registry`. Bytes are the growth of the registry's files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import build_peers
import launches
from build_peers import Docker
from paired import Case, measure, parser, timed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from registry_server import RegistryServer

_EXPERIMENT = """\
# @package _global_
image: {{requirements: [{requirements}]}}
code: {{root: code}}
command: [python3, train.py]
tracking: null
"""
_SMALL = "humanize==4.12.0"


def main() -> None:
    options = parser(__doc__, rounds=3)
    launches.add_options(options)
    chosen = options.parse_args()
    launch = launches.launches(chosen)[0]
    launch.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=chosen.home.parent) as name, _registry(Path(name) / "registry") as server:
        scratch = Path(name)
        ours = _Ours(launches.Launch(launch.command, launch.home, scratch / "project"), server, scratch)
        ours.write()
        ours.build()
        ours.push()
        peers: list[_Podman | _DockerPeer] = [_Podman(server, scratch)] if shutil.which("podman") else []
        peers += [_DockerPeer(server)] if Docker.answers() else []
        for peer in peers:
            peer.pull()
        _pushes(ours, peers, server, rounds=chosen.rounds)
        _bytes(ours, server)
        _pulls(ours, peers, server, scratch, rounds=chosen.rounds)


@contextmanager
def _registry(directory: Path) -> Iterator[RegistryServer]:
    server = RegistryServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _emptied(server: RegistryServer) -> None:
    server.stop()
    shutil.rmtree(server.data)
    server.start()


@dataclass(frozen=True, slots=True)
class _Ours:
    launch: launches.Launch
    server: RegistryServer
    scratch: Path

    @property
    def reference(self) -> str:
        return f"{self.server.address}/bench/image:ours"

    def write(self, *more: str) -> None:
        for name in ("conf/experiment", "code"):
            (self.launch.project / name).mkdir(parents=True, exist_ok=True)
        requirements = ", ".join(f'"{line}"' for line in (*build_peers.REQUIREMENTS, *more))
        (self.launch.project / "conf/experiment/bench.yaml").write_text(_EXPERIMENT.format(requirements=requirements))
        (self.launch.project / "code/train.py").write_text('print("start", flush=True)\n')

    def build(self) -> None:
        self.launch.whole("build", "experiment=bench", "--quiet")

    def push(self, compression: str = "gzip") -> float:
        return self.launch.whole("push", "bench", self.reference, "--compression", compression, "--quiet")

    def pull(self) -> float:
        return self.launch.in_home(_new(self.scratch)).whole("pull", self.reference)


@dataclass(frozen=True, slots=True)
class _Podman:
    server: RegistryServer
    scratch: Path

    name = "podman"

    def pull(self) -> float:
        return self._whole("pull", "--quiet", "--tls-verify=false", f"{self.server.address}/bench/image:ours")

    def push(self) -> float:
        image = f"{self.server.address}/bench/image:ours"
        return self._whole("push", "--quiet", "--tls-verify=false", image, f"docker://{self.server.address}/bench/image:podman")

    def pull_into_an_empty_store(self) -> float:
        root = _new(self.scratch)
        seconds = _Podman(self.server, root).pull()
        subprocess.run(["umount", str(root / "root/overlay")], capture_output=True, check=False)
        return seconds

    def _whole(self, *arguments: str) -> float:
        storage = ["--root", str(self.scratch / "root"), "--runroot", str(self.scratch / "run"), "--log-level", "error"]
        return timed(lambda: _run("podman", *storage, *arguments))


@dataclass(frozen=True, slots=True)
class _DockerPeer:
    server: RegistryServer

    name = "docker"

    def pull(self) -> float:
        return timed(lambda: _run("docker", "pull", "--quiet", f"{self.server.address}/bench/image:ours"))

    def push(self) -> float:
        target = f"{self.server.address}/bench/image:docker"
        _run("docker", "tag", f"{self.server.address}/bench/image:ours", target)
        return timed(lambda: _run("docker", "push", "--quiet", target))

    def pull_into_an_empty_store(self) -> float:
        _run("docker", "image", "prune", "--all", "--force")
        return self.pull()


def _pushes(ours: _Ours, peers: list[_Podman | _DockerPeer], server: RegistryServer, *, rounds: int) -> None:
    sent: dict[str, int] = {}

    def into_an_empty_registry(name: str, push: Callable[[], float]) -> Case:
        def once() -> float:
            _emptied(server)
            seconds = push()
            sent[name] = server.stored_bytes()
            return seconds

        return Case(name, once)

    cases = [
        into_an_empty_registry("launch push", ours.push),
        into_an_empty_registry("launch push, zstd", lambda: ours.push("zstd")),
    ]
    cases += [into_an_empty_registry(f"{peer.name} push", peer.push) for peer in peers]
    measure("Push into an empty registry", cases, rounds=rounds)
    print("".join(f"- {name}: {count:,} bytes\n" for name, count in sent.items()))
    _emptied(server)
    ours.push()
    measure("Push again, nothing changed", [Case("launch push", ours.push)], rounds=3 * rounds)


def _bytes(ours: _Ours, server: RegistryServer) -> None:
    """One requirement more: what the registry grows by, beside the size of that wheel's layer."""
    before = server.stored_bytes()
    ours.write(_SMALL)
    ours.build()
    seconds = ours.push()
    print("### Push after one small requirement was added\n")
    print(f"{server.stored_bytes() - before:,} bytes, {seconds:.2f} s\n")
    ours.write()
    ours.build()
    ours.push()


def _pulls(ours: _Ours, peers: list[_Podman | _DockerPeer], server: RegistryServer, scratch: Path, *, rounds: int) -> None:
    cases = [Case("launch pull", ours.pull)]
    cases += [Case(f"{peer.name} pull", peer.pull_into_an_empty_store) for peer in peers]
    if shutil.which("skopeo") and shutil.which("umoci"):
        cases.append(Case("skopeo copy, umoci unpack", lambda: _unpacked(server, scratch)))
    measure("Pull into an empty store, to ready-to-run", cases, rounds=rounds)


def _unpacked(server: RegistryServer, scratch: Path) -> float:
    place = _new(scratch)
    layout, bundle = place / "layout", place / "bundle"

    def work() -> None:
        source = f"docker://{server.address}/bench/image:ours"
        _run("skopeo", "copy", "--quiet", "--src-tls-verify=false", source, f"oci:{layout}:x")
        _run("umoci", "unpack", "--image", f"{layout}:x", str(bundle))

    return timed(work)


def _run(*argv: str) -> None:
    environ = {**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"`{' '.join(argv)}` exited with {done.returncode}:\n{done.stderr[-2000:]}")


def _new(scratch: Path) -> Path:
    """An empty directory, kept until the end: ext4 makes files slowly where many were just removed."""
    return Path(tempfile.mkdtemp(dir=scratch))


if __name__ == "__main__":
    main()
