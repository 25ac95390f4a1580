"""`launch push`: what arrives in a registry is what everybody else can run, and no more is sent than has to be."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from launch_command import Launch
from registry_server import RegistryServer, Wire, left_in, registry_server, wire_to

pytestmark = [pytest.mark.any_user, pytest.mark.requires("overlayfs", "userns", "docker-registry")]

_EXPERIMENT = """\
# @package _global_
image: {requirements: %s}
code: {root: experiments/many}
command: [python3, many.py]
tracking: null
"""
_PROGRAM = """\
import importlib, pkgutil
found = [name for _, name, _ in pkgutil.iter_modules() if name.startswith("fake_")]
print(len(found), sum(importlib.import_module(name).NUMBER for name in found))
"""


def _wheel(directory: Path, number: int, *, size: int = 100) -> None:
    """Package `fake-N`, which holds its number and *size* bytes that don't compress."""
    name = f"fake_{number}"
    noise = b"".join(hashlib.sha512(b"%d %d" % (number, block)).digest() for block in range(size // 64))
    members = {
        f"{name}/__init__.py": b"NUMBER = %d\n" % number,
        f"{name}/noise.bin": noise,
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: fake-{number}\nVersion: 1.0\n".encode(),
        f"{name}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{name}-1.0.dist-info/RECORD"
    with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, content in members.items():
            wheel.writestr(path, content)
        wheel.writestr(record, "".join(f"{path},,\n" for path in (*members, record)))


class Project:
    """A project with as many requirements as one likes, none of them from the index."""

    def __init__(self, directory: Path, home: Path) -> None:
        (directory / "conf/experiment").mkdir(parents=True)
        (directory / "experiments/many").mkdir(parents=True)
        (directory / "experiments/many/many.py").write_text(_PROGRAM)
        self.wheels = directory / "wheels"
        self.wheels.mkdir()
        self.file = directory / "conf/experiment/many.yaml"
        self.launch = Launch(home, directory, {"UV_FIND_LINKS": str(self.wheels), "PIP_FIND_LINKS": str(self.wheels)})

    def require(self, numbers: range, *, size: int = 100) -> None:
        for number in numbers:
            if not list(self.wheels.glob(f"fake_{number}-*")):
                _wheel(self.wheels, number, size=size)
        self.file.write_text(_EXPERIMENT % json.dumps([f"fake-{number}==1.0" for number in range(numbers.stop)]))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> RegistryServer:
    """Started and ended by each test that uses it: nothing may be left behind by any."""
    return RegistryServer(tmp_path_factory.mktemp("registry"))


@pytest.fixture
def registry(server: RegistryServer) -> Iterator[RegistryServer]:
    server.start()
    yield server
    server.stop()


@pytest.fixture
def wire(registry: RegistryServer) -> Iterator[Wire]:
    with wire_to(registry.port) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, session_home: Path) -> Project:
    """Each test's own: wheels of one name differ between tests."""
    return Project(tmp_path / "project", session_home)


def test_after_one_more_requirement_only_its_layer_is_sent(project: Project, wire: Wire) -> None:
    project.require(range(5), size=400_000)
    first = json.loads(project.launch("push", "experiment=many", f"{wire.address}/many", "--json").stdout)
    assert first["sent_bytes"] > 5 * 400_000
    project.require(range(6), size=400_000)
    project.launch("build", "experiment=many")
    wire.reset()
    second = json.loads(project.launch("push", "many", f"{wire.address}/many", "--json").stdout)
    [layer] = [each for each in second["layers"] if each["how"] == "sent"]
    assert 400_000 < layer["size_bytes"] < 410_000
    assert wire.sent_bytes <= layer["size_bytes"] + 64 * 1024
    wire.reset()
    third = project.launch("push", "many", f"{wire.address}/many")
    assert third.stdout == f"{wire.address}/many:latest@{second['manifest_digest']}\n"
    assert "0 layers sent" in third.stderr
    assert wire.sent_bytes <= 64 * 1024


def test_a_build_pushes_every_name_that_it_gives(launch: Launch, tmp_path: Path, registry: RegistryServer) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY <<EOF /x\ntext\nEOF\n")
    names = [f"{registry.address}/built:1", f"{registry.address}/other/built:latest"]
    done = launch("build", "--push", "-t", names[0], "-t", names[1], str(tmp_path))
    image, *pushed = done.stdout.splitlines()
    assert names == [line.partition("@")[0] for line in pushed]
    assert {each["reference"] for each in json.loads(launch("images", "show", image[7:19], "--json").stdout)["pushed"]} == {
        *names
    }


@pytest.mark.requires("podman", "skopeo", "unshare")
@pytest.mark.requires("patience")
def test_an_image_of_150_wheels_is_run_by_podman_and_read_by_skopeo(
    project: Project, registry: RegistryServer, tmp_path: Path
) -> None:
    project.require(range(150))
    pushed = json.loads(project.launch("push", "experiment=many", f"{registry.address}/wheels:150", "--json").stdout)
    assert len(pushed["layers"]) <= 100
    image = f"{registry.address}/wheels:150"
    there = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{image}"], capture_output=True, check=True, timeout=60
    )
    assert json.loads(there.stdout)["Digest"] == pushed["manifest_digest"]
    copy = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{image}", f"oci:{tmp_path / 'layout'}:x"]
    subprocess.run(copy, capture_output=True, check=True, timeout=120)
    expected = f"150 {sum(range(150))}\n"
    with podman(tmp_path) as run:
        said = run("run", "--rm", "--network=none", "--cgroups=disabled", "--tls-verify=false", image, "python3", "many.py")
    assert said == expected


def test_an_image_that_was_pulled_goes_to_another_repository_without_being_sent(
    launch: Launch, tmp_path: Path, wire: Wire
) -> None:
    launch("build", "experiment=probe")
    first = json.loads(launch("push", "probe", f"{wire.address}/origin", "--json").stdout)
    other = Launch(tmp_path / "home", launch.project)
    other("pull", f"{wire.address}/origin")
    wire.reset()
    second = json.loads(other("push", f"{wire.address}/origin:latest", f"{wire.address}/copy/of/it", "--json").stdout)
    assert {layer["how"] for layer in second["layers"]} == {"mounted"}
    assert second["manifest_digest"] == first["manifest_digest"]
    assert wire.sent_bytes < 64 * 1024


class podman:
    """podman with storage of its own below *directory*; crun wants to see one version of cgroups only."""

    def __init__(self, directory: Path) -> None:
        self._root = directory / "podman"
        settings = directory / "containers.conf"
        # Its own default asks for more open files than a container of ours may have.
        settings.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n')
        self._env = {**os.environ, "CONTAINERS_CONF_OVERRIDE": str(settings), "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}

    def __enter__(self) -> podman:
        return self

    def __call__(self, *arguments: str) -> str:
        alone = 'mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified; exec "$@"'
        storage = ["--root", str(self._root / "root"), "--runroot", str(self._root / "run"), "--log-level", "error"]
        argv = ["unshare", "-m", "--propagation", "private", "bash", "-c", alone, "_", "podman", *storage, *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, env=self._env, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def __exit__(self, *_: object) -> None:
        self("system", "reset", "--force")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("127.0.0.1:1/a@sha256:" + "0" * 64, "pushed under a digest"),
        ("oci:somewhere", "is not in a registry"),
        ("Upper/Case", "is no image reference"),
    ],
)
def test_a_place_that_is_none_is_refused_before_anything_is_done(launch: Launch, reference: str, words: str) -> None:
    refused = launch("push", "probe", reference, check=2)
    assert words in refused.stderr
    assert f"--> command line: {reference}" in refused.stderr
    assert "hint: " in refused.stderr


def test_an_image_that_is_not_there_is_named(launch: Launch) -> None:
    assert "no image `nothing` in the store" in launch("push", "nothing", "127.0.0.1:1/a", check=2).stderr


def test_a_word_is_not_enough(launch: Launch) -> None:
    assert "needs an image and where it goes" in launch("push", "probe", check=2).stderr


def test_an_experiment_that_has_no_image_yet_is_built(launch: Launch, registry: RegistryServer) -> None:
    launch("build", "experiment=probe")
    launch("images", "rm", "probe")
    done = launch("push", "probe", f"{registry.address}/probe:x")
    assert done.stdout.startswith(f"{registry.address}/probe:x@sha256:")


@pytest.mark.requires("htpasswd")
def test_whoever_is_not_logged_in_is_told_how(launch: Launch, tmp_path: Path) -> None:
    launch("build", "experiment=probe")
    with registry_server(tmp_path / "registry", login=("ci", "s3cret")) as server:
        refused = launch("push", "probe", f"{server.address}/probe", check=125)
        assert "Traceback" not in refused.stderr
        assert f"hint: `launch login {server.address}`" in refused.stderr


def test_ctrl_c_ends_a_push_at_once_and_leaves_nothing(launch: Launch, wire: Wire) -> None:
    launch("build", "experiment=probe")
    pushing = launch.start("push", "probe", f"{wire.address}/interrupted")
    deadline = time.monotonic() + 60
    while wire.count("POST") == 0 and time.monotonic() < deadline:
        time.sleep(0.005)
    pushing.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, words = pushing.communicate(timeout=30)
    assert (pushing.returncode, time.monotonic() - begun < 3) == (130, True), words
    assert "Traceback" not in words
    assert left_in(launch.home / "store/tmp") == []
    launch("push", "probe", f"{wire.address}/interrupted")
