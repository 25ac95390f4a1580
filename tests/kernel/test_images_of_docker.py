"""Docker builds an image, we load what it saves and save it again: Docker has it back under its name and its ID."""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.build.images.import_image import load_images
from runtime.build.observer import NullObserver
from runtime.store.save import docker_archive
from runtime.store.store import Store

pytestmark = pytest.mark.requires("root", "overlayfs", "dockerd", "unshare")

DOCKERFILE = b"""\
FROM scratch
COPY f /a/f
COPY --chown=70000:80000 f /b/
LABEL x=y
ENV P=1
CMD ["/a/f"]
"""


class Daemon:
    """A dockerd, spoken to over its socket: its client is not needed."""

    def __init__(self, directory: Path) -> None:
        self._socket = f"{directory}/d.sock"
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *("unshare", "-m", "--propagation=private", "dockerd"),  # its mounts end with it
                    *("--bridge=none", "--iptables=false", "--storage-driver=overlay2", f"--pidfile={directory}/pid"),
                    *(f"--data-root={directory}/data", f"--exec-root={directory}/exec", f"--host=unix://{self._socket}"),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, (directory / "log").read_text()[-500:]
            assert time.monotonic() < deadline, "dockerd doesn't answer"
            time.sleep(0.1)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=60)

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection("docker", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self._socket)
        connection.request(method, path, body, {"Content-Type": "application/x-tar"} if body else {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        assert answer.status < 300, content
        return content

    def image(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask("GET", f"/images/{name}/json"))
        return found

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/_ping") == b"OK"
        except OSError:
            return False


@pytest.fixture
def docker() -> Iterator[Daemon]:
    # The names of containerd's sockets have room for 104 bytes, which pytest's directories use up.
    directory = Path(tempfile.mkdtemp(prefix="docker-"))
    daemon = Daemon(directory)
    yield daemon
    daemon.stop()
    shutil.rmtree(directory)


def test_an_image_goes_from_docker_to_us_and_back(docker: Daemon, tmp_path: Path) -> None:
    built = docker.ask("POST", "/build?t=lab/d:1", context({"Dockerfile": DOCKERFILE, "f": b"content"}))
    assert b"Successfully tagged" in built, built
    before = docker.image("lab/d:1")
    (tmp_path / "saved.tar").write_bytes(docker.ask("GET", "/images/lab/d:1/get"))
    store = Store(tmp_path / "store")

    loaded = load_images(tmp_path / "saved.tar", store, observer=NullObserver(), architecture=before["Architecture"])[0]

    assert (("lab/d:1",), before["Id"]) == (loaded.names, loaded.image.manifest["config"]["digest"])
    assert before["RootFS"]["Layers"] == [layer.diff_id for layer in loaded.image.layers]
    owned = os.lstat(store.layer_dir(loaded.image.layers[1]) / "b/f")
    assert (70_000, 80_000) == (owned.st_uid, owned.st_gid)

    docker.ask("DELETE", "/images/lab/d:1")
    docker.ask("POST", "/images/load?quiet=1", b"".join(docker_archive(loaded.image, store, names=["lab/d:1"])))
    after = docker.image("lab/d:1")
    for key in ("Id", "RootFS", "Config", "Created", "RepoTags"):
        assert before[key] == after[key], key


def context(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
