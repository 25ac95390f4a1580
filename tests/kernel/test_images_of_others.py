"""Images that podman and buildah made come in as they are, and ours come out so that umoci, skopeo and podman see the same tree.

Judged path by path: what buildah shows of its image, what the overlay of our layers shows, what umoci unpacks of our export.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from forked import forked

from runtime.build.images.import_image import import_image, load_images
from runtime.build.observer import NullObserver
from runtime.kernel import libc
from runtime.store.image_blobs import config_bytes
from runtime.store.layer_on_disk import damage_of
from runtime.store.records import Image
from runtime.store.save import docker_archive, export_oci_layout, oci_archive
from runtime.store.store import Store

pytestmark = pytest.mark.requires("root", "overlayfs")

NAME = "localhost/lab/tree:1"


class Containers:
    """buildah and podman with a storage of their own."""

    def __init__(self, directory: Path) -> None:
        self._storage = [f"--root={directory}/root", f"--runroot={directory}/run", "--storage-driver=vfs"]
        # podman's own cleanup of a network database and its event log want a machine.
        self._env = {
            **os.environ,
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(directory),
        }

    def buildah(self, *words: str) -> str:
        return self._run("buildah", *self._storage, *words)

    def podman(self, *words: str) -> str:
        return self._run("podman", *self._storage, "--events-backend=none", *words)

    def _run(self, *argv: str) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, env=self._env)
        assert 0 == done.returncode, f"{' '.join(argv)}\n{done.stderr}"
        return done.stdout.strip()

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        container = self.buildah("from", "--pull-never", image)
        yield Path(self.buildah("mount", container))
        self.buildah("rm", container)


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    directory = tmp_path_factory.mktemp("containers")
    yield Containers(directory)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def odd_image(containers: Containers) -> str:
    """Two layers by buildah: everything that a layer can say, then deletions and replacements of it."""
    first = containers.buildah("from", "scratch")
    root = Path(containers.buildah("mount", first))
    _first_layer(root)
    containers.buildah("config", "--env=GREETING=hello world", "--user=3000000", "--label=a=b", "--cmd=/bin/sh", first)
    containers.buildah("commit", "--rm", first, "localhost/lab/first:1")
    second = containers.buildah("from", "--pull-never", "localhost/lab/first:1")
    root = Path(containers.buildah("mount", second))
    (root / "gone").unlink()
    shutil.rmtree(root / "emptied")
    (root / "emptied").mkdir()
    (root / "emptied/new").write_text("new")
    (root / "file").unlink()
    (root / "file").mkdir()
    (root / "file/in it").write_text("was a file")
    (root / "directory/kept").chmod(0o600)
    containers.buildah("commit", "--rm", second, NAME)
    return NAME


def _first_layer(root: Path) -> None:
    for name in ("directory", "emptied", "sticky", "closed"):
        (root / name).mkdir()
    (root / "sticky").chmod(0o3777)
    (root / "closed").chmod(0)
    (root / "directory/kept").write_text("kept")
    (root / "emptied/old").write_text("old")
    (root / "gone").write_text("gone")
    (root / "file").write_text("a file")
    (root / "setuid").write_bytes(b"\x7fELF")
    os.chown(root / "setuid", 3_000_000, 70_000)
    (root / "setuid").chmod(0o6755)
    (root / "capable").write_text("x")
    os.setxattr(root / "capable", "security.capability", bytes.fromhex("0000000200040000000000000000000000000000"))
    os.setxattr(root / "directory", "user.note", b"\0binary\xff")
    os.link(root / "directory/kept", root / "another name")
    os.symlink("../../../etc/passwd", root / "up")
    os.symlink("/nowhere " + "x" * 200, root / "dangling")
    os.mkfifo(root / "fifo", 0o620)
    with (root / "sparse").open("wb") as sparse:
        sparse.seek(5 << 20)
        sparse.write(b"data")
        sparse.truncate(9 << 20)
    (root / ("long " + "n" * 240)).write_text("long")
    (root / "ümlaut\n").write_text("odd")
    (root / "directory" / "deep").joinpath(*("d" * 60 for _ in range(5))).mkdir(parents=True)
    for path in (root / "directory/kept", root / "directory"):
        os.utime(path, (1_500_000_000, 1_500_000_000))


def facts(root: Path) -> dict[str, tuple[Any, ...]]:
    """Path → all that a program in a container can see of it; the times of directories that were only passed through aside."""
    found = {}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            content = Path(path).read_bytes() if kind == stat.S_IFREG else os.readlink(path) if kind == stat.S_IFLNK else None
            xattrs = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
                if (key.startswith("user.") and ".overlay." not in key) or key == "security.capability"
            }
            mtime = int(status.st_mtime) if kind == stat.S_IFREG else None
            links = status.st_nlink if kind == stat.S_IFREG else None
            owner = (status.st_uid, status.st_gid)
            found[os.path.relpath(path, root)] = (oct(status.st_mode), owner, content, xattrs, mtime, links)
    return found


@contextmanager
def our_mount(store: Store, image: Image, at: Path) -> Iterator[Path]:
    at.mkdir()
    bottom = at.with_name("nothing")  # an overlay without an upper directory wants two below
    bottom.mkdir()
    lower = ":".join(str(directory) for directory in (*map(store.layer_dir, reversed(image.layers)), bottom))
    libc.mount("overlay", at, "overlay", options=f"lowerdir={lower}")
    try:
        yield at
    finally:
        libc.umount(at)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    tmp_path.chmod(0o755)
    return Store(tmp_path / "store").ensure()


def imported(reference: str, store: Store) -> Image:
    return import_image(reference, store, observer=NullObserver(), architecture="amd64")


FORMS = ["docker-archive", "oci-archive", "oci"]


@pytest.mark.requires("buildah")
@pytest.mark.parametrize("form", FORMS)
def test_what_buildah_made_looks_the_same_here(
    containers: Containers, odd_image: str, store: Store, tmp_path: Path, form: str
) -> None:
    target = f"{form}:{tmp_path}/image:{'lab/tree:1' if form == 'docker-archive' else 'v1'}"
    containers.buildah("push", "-q", "--format", "oci" if "oci" in form else "v2s2", odd_image, target)

    image = imported(target, store)

    with containers.mounted(odd_image) as theirs, our_mount(store, image, tmp_path / "mount") as ours:
        assert facts(theirs) == facts(ours)
    inspected = json.loads(containers.buildah("inspect", "--type=image", odd_image))
    assert [layer.diff_id for layer in image.layers] == inspected["OCIv1"]["rootfs"]["diff_ids"]
    if form != "docker-archive":
        assert inspected["FromImageID"] == image.manifest["config"]["digest"].removeprefix("sha256:"), "its ID"
    assert [None, None] == [damage_of(store.root, layer.diff_id) for layer in image.layers]


@pytest.mark.requires("buildah", "umoci")
def test_umoci_unpacks_our_export_to_the_tree_of_our_mount(
    containers: Containers, odd_image: str, store: Store, tmp_path: Path
) -> None:
    containers.buildah("push", "-q", odd_image, f"oci:{tmp_path}/image:v1")
    image = imported(f"oci:{tmp_path}/image:v1", store)
    export_oci_layout(image, store, tmp_path / "out", tag="v1")
    subprocess.run(
        ["umoci", "unpack", "--image", f"{tmp_path}/out:v1", tmp_path / "bundle"], capture_output=True, check=True, timeout=60
    )
    with our_mount(store, image, tmp_path / "mount") as ours:
        assert facts(ours) == facts(tmp_path / "bundle" / "rootfs")


@pytest.mark.requires("buildah", "podman")
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_podman_loads_what_we_save_under_its_name_and_id(
    containers: Containers, odd_image: str, store: Store, tmp_path: Path, form: str
) -> None:
    containers.buildah("push", "-q", odd_image, f"oci:{tmp_path}/image:v1")
    image = imported(f"oci:{tmp_path}/image:v1", store)
    archive = (docker_archive if form == "docker-archive" else oci_archive)(image, store, names=[f"lab/{form}:7"])
    with (tmp_path / "saved.tar").open("wb") as file:
        file.writelines(archive)

    containers.podman("load", "-q", "-i", f"{tmp_path}/saved.tar")

    found = json.loads(containers.podman("image", "inspect", f"docker.io/lab/{form}:7"))[0]
    assert image.manifest["config"]["digest"] == f"sha256:{found['Id']}"
    with our_mount(store, image, tmp_path / "mount") as ours, containers.mounted(found["Id"]) as theirs:
        assert facts(ours) == facts(theirs)


@pytest.mark.requires("podman")
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir", "docker-archive, gzip"])
def test_what_podman_built_and_saved_is_loaded(containers: Containers, store: Store, tmp_path: Path, form: str) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context/f").write_text("content")
    (tmp_path / "context/Dockerfile").write_text('FROM scratch\nCOPY f /a/\nCOPY f /b\nENV X=1\nENTRYPOINT ["/a/f"]\n')
    containers.podman("build", "-q", "-t", "localhost/lab/built:2", str(tmp_path / "context"))
    kind, _, packed = form.partition(", ")
    path = tmp_path / "saved"
    containers.podman("save", "-q", "--format", kind, "-o", str(path), "localhost/lab/built:2")
    if packed:
        subprocess.run(["gzip", path], check=True, timeout=30)
        path = path.with_suffix(".gz")

    loaded = load_images(path, store, observer=NullObserver(), architecture="amd64")

    assert 1 == len(loaded)
    name = "saved:latest" if kind == "oci-dir" and not loaded[0].names else "localhost/lab/built:2"
    assert (name,) == loaded[0].names
    found = json.loads(containers.podman("image", "inspect", "localhost/lab/built:2"))[0]
    assert found["RootFS"]["Layers"] == [layer.diff_id for layer in loaded[0].image.layers]
    config = json.loads(config_bytes(store, loaded[0].image))["config"]
    assert (["/a/f"], True) == (config["Entrypoint"], "X=1" in config["Env"])
    with our_mount(store, loaded[0].image, tmp_path / "mount") as ours:
        assert "content" == (ours / "b").read_text() == (ours / "a/f").read_text()


@pytest.mark.requires("buildah", "ordinary-user")
def test_an_ordinary_user_has_the_same_layers_without_their_owners(
    containers: Containers, odd_image: str, tmp_path: Path
) -> None:
    """Whoever can't chown keeps the stream all the same: the same digests, the same export, and nothing to complain about."""
    tmp_path.chmod(0o777)
    containers.buildah("push", "-q", odd_image, f"oci:{tmp_path}/image:v1")
    for directory in (tmp_path, *tmp_path.parents):
        directory.chmod(directory.stat().st_mode | 0o055)
    as_root = imported(f"oci:{tmp_path}/image:v1", Store(tmp_path / "roots"))

    def as_launchtest() -> list[str]:
        os.setgroups([])
        os.setgid(pwd.getpwnam("launchtest").pw_gid)
        os.setuid(pwd.getpwnam("launchtest").pw_uid)
        store = Store(tmp_path / "users")
        image = imported(f"oci:{tmp_path}/image:v1", store)
        damage = [str(damage_of(store.root, layer.diff_id)) for layer in image.layers]
        export_oci_layout(image, store, tmp_path / "users" / "out")
        return [image.digest, *damage]

    assert [as_root.digest, "None", "None"] == forked(as_launchtest)
    looked_at = Store(tmp_path / "users")
    assert [] == [damage for diff_id in looked_at.layers() if (damage := damage_of(looked_at.root, diff_id))], "nor has root"
