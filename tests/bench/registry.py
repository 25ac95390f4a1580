"""An image of numpy + scikit-learn + pandas (525 MB) to and from a registry on loopback, beside podman, skopeo and umoci.

Everybody has the same image with the same layers (podman pulled it before the clock started), and every push is into a registry
that holds nothing. Needs `docker-registry`. Bytes are the growth of the registry's files.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bench import Bench
from image_builds import Project
from paired import Case, Group, Line, run, timed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from registry_server import RegistryServer

_SMALL = "humanize==4.12.0"


@contextmanager
def _registry(bench: Bench) -> Iterator[Sequence[Line]]:
    if shutil.which("docker-registry") is None:
        raise SystemExit("docker-registry is not installed")
    server = RegistryServer(bench.scratch / "registry")
    server.start()
    try:
        ours = _Ours(Project(bench.launch, bench.scratch / "pushed"), server, bench.scratch)
        ours.project.build()
        ours.push()
        yield (*_pushes(ours), *_pulls(ours))
    finally:
        server.stop()


class _Ours(NamedTuple):
    project: Project
    server: RegistryServer
    scratch: Path

    @property
    def reference(self) -> str:
        return f"{self.server.address}/bench/image:ours"

    def push(self, compression: str = "gzip") -> float:
        return self.project.launch.whole("push", "bench", self.reference, "--compression", compression, "--quiet")

    def pull(self) -> float:
        """Into an empty store."""
        return self.project.launch.in_home(_new(self.scratch)).whole("pull", self.reference)

    def sent_with_one_more(self) -> float:
        """KB that a push sends after one small requirement was added, beside what that wheel's layer is: 90 KB."""
        self.push()
        before = self.server.stored_bytes()
        self.project.build_with(_SMALL)
        self.push()
        self.project.write()
        self.project.build()
        return (self.server.stored_bytes() - before) / 1000


def _pushes(ours: _Ours) -> Iterator[Line]:
    def into_an_empty_registry(push: Callable[[], float]) -> float:
        ours.server.stop()
        shutil.rmtree(ours.server.data)
        ours.server.start()
        return push()

    gzip = Case("launch push", lambda: into_an_empty_registry(ours.push))
    zstd = Case("launch push, zstd", lambda: into_an_empty_registry(lambda: ours.push("zstd")))
    podman: Case | str = "podman: not installed"
    if shutil.which("podman"):
        source, target = f"{ours.server.address}/bench/image:ours", f"docker://{ours.server.address}/bench/image:podman"
        store = _podman(ours.scratch / "podman")
        run(*store, "pull", "--quiet", "--tls-verify=false", source)
        words = (*store, "push", "--quiet", "--tls-verify=false", source, target)
        podman = Case("`podman push`", lambda: into_an_empty_registry(lambda: timed(lambda: run(*words))))
    yield Line("push of 525 MB into an empty registry", gzip, podman, 1.0)
    yield Line("… zstd", zstd, podman)
    yield Line("… sent after one small requirement", Case("launch push", ours.sent_with_one_more, "KB"), None, 160)


def _pulls(ours: _Ours) -> Iterator[Line]:
    source = f"{ours.server.address}/bench/image:ours"

    def podman() -> float:
        place = _new(ours.scratch)
        seconds = timed(lambda: run(*_podman(place), "pull", "--quiet", "--tls-verify=false", source))
        with suppress(SystemExit):  # it is not mounted everywhere
            run("umount", str(place / "root/overlay"))
        return seconds

    def unpacked() -> None:
        place = _new(ours.scratch)
        run("skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{source}", f"oci:{place}/layout:x")
        run("umoci", "unpack", "--image", f"{place}/layout:x", f"{place}/bundle")

    launch = Case("launch pull", ours.pull)
    has_both = shutil.which("skopeo") and shutil.which("umoci")
    other = Case("skopeo copy, umoci unpack", lambda: timed(unpacked)) if has_both else "skopeo, umoci: not installed"
    yield Line("pull into an empty store", launch, Case("`podman pull`", podman) if shutil.which("podman") else "podman", 0.5)
    yield Line("…", launch, other)


def _podman(place: Path) -> tuple[str, ...]:
    return ("podman", "--root", f"{place}/root", "--runroot", f"{place}/run", "--log-level", "error")


def _new(scratch: Path) -> Path:
    """An empty directory, kept until the end: ext4 makes files slowly where many were just removed."""
    return Path(tempfile.mkdtemp(dir=scratch))


GROUPS = (Group("registry", _registry, rounds=3, only_named=True),)
