"""A disk that fills up in the middle of something: the error says so, the store is whole, nothing is left, and with more room the
same command comes to its end."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from shell_layer import shell_layer

from runtime.build.builder import build
from runtime.build.plan import BuildPlan, CopyIn, ImageConfig, ImportImage, MakeVenv, RunCommand
from runtime.errors import BuildError, StoreError
from runtime.oci.digest import digest_bytes
from runtime.store.check import check
from runtime.store.garbage import Rules, collect
from runtime.store.in_use import pin
from runtime.store.save import export_oci_layout
from runtime.store.store import Store

pytestmark = pytest.mark.requires("root", "overlayfs", "idmapped-mounts", "proc")

VENV = MakeVenv("cpython-3.13.5-abc", "/usr/bin/python3.13", "3.13.5")


@dataclass
class Disk:
    """A small file system with a store on it."""

    at: Path

    @property
    def store(self) -> Store:
        return Store(self.at / "store")

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self.at], check=True)

    def fill(self, *, leave: int) -> None:
        """Take all room but *leave* bytes."""
        status = os.statvfs(self.at)
        with (self.at / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, status.f_bavail * status.f_frsize - leave))

    def is_whole_and_clean(self) -> None:
        assert [] == check(self.store)
        assert [".gate"] == os.listdir(self.store.root / "tmp")
        assert [] == os.listdir(self.store.root / "locks")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[..., Disk]]:
    mounted: list[Path] = []

    def make(options: str) -> Disk:
        at = tmp_path / f"disk-{len(mounted)}"
        at.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "disk", at], check=True)
        mounted.append(at)
        return Disk(at)

    yield make
    for at in mounted:
        subprocess.run(["umount", at], check=True)


def code(directory: Path, *, files: int, size: int) -> CopyIn:
    """A snapshot of *files* files that do not compress."""
    directory.mkdir()
    listed = []
    for number in range(files):
        content = os.urandom(size)
        (directory / f"{number:04}").write_bytes(content)
        listed.append((f"{number:04}", 0o644, hashlib.sha256(content).hexdigest()))
    return CopyIn(os.fspath(directory), tuple(listed), "/workspace", digest_bytes(repr(listed).encode()))


def plan_of(*steps: CopyIn | RunCommand | ImportImage) -> BuildPlan:
    return BuildPlan((VENV, *steps), ImageConfig())


def test_code_that_does_not_fit_is_named_and_fits_when_there_is_room(small_disk: Callable[..., Disk], tmp_path: Path) -> None:
    disk = small_disk("size=6m")
    plan = plan_of(code(tmp_path / "code", files=12, size=1 << 20))
    with pytest.raises(StoreError, match=r"cannot make `code in .*no space left on device") as failure:
        build(plan, disk.store)
    assert "the disk is full; `launch gc` frees" in (failure.value.hint or "")
    disk.is_whole_and_clean()
    assert 1 == len(disk.store.layers()), "what was finished before is kept"
    disk.remount("size=60m")
    build(plan, disk.store)
    disk.is_whole_and_clean()


def test_a_disk_without_inodes_is_full_too(small_disk: Callable[..., Disk], tmp_path: Path) -> None:
    disk = small_disk("size=60m,nr_inodes=300")
    with pytest.raises(StoreError, match="no space left on device"):
        build(plan_of(code(tmp_path / "code", files=400, size=10)), disk.store)
    disk.is_whole_and_clean()


def test_an_import_that_does_not_fit_leaves_nothing(small_disk: Callable[..., Disk], tmp_path: Path) -> None:
    elsewhere = Store(tmp_path / "elsewhere").ensure()
    image = build(plan_of(code(tmp_path / "code", files=12, size=1 << 20)), elsewhere).image
    digest = export_oci_layout(image, elsewhere, tmp_path / "layout")
    plan = BuildPlan((ImportImage(f"oci:{tmp_path / 'layout'}", digest),), ImageConfig())
    disk = small_disk("size=6m")
    with pytest.raises(StoreError, match=r"layer [12] of `oci:.*` unpacks to more than fits on the disk") as failure:
        build(plan, disk.store)
    assert "`launch gc` frees" in (failure.value.hint or "")
    disk.is_whole_and_clean()
    disk.remount("size=400m")
    assert [layer.diff_id for layer in image.layers] == [layer.diff_id for layer in build(plan, disk.store).image.layers]
    disk.is_whole_and_clean()


def test_a_command_that_fills_the_disk_fails_with_its_own_words_and_ours(small_disk: Callable[..., Disk], tmp_path: Path) -> None:
    disk = small_disk("size=60m")
    store = disk.store.ensure()
    base = shell_layer(store)
    image = store.put_image(
        config={"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [base.diff_id]}},
        manifest={"layers": []},
        layers=(base,),
    )
    assert image.layers == (base,)
    big = RunCommand(("sh", "-ec", "cat /dev/zero > /big"), label="fill")
    from runtime.build.observer import NullObserver
    from runtime.build.run.apply_run_command import apply_run_command

    with pytest.raises(BuildError, match="No space left on device") as failure:
        apply_run_command(big, store=store, below=[base], observer=NullObserver())
    assert "`launch gc` frees" in (failure.value.hint or "")
    disk.is_whole_and_clean()


@pytest.mark.parametrize("leave", [0, 4096, 20_000, 100_000])
def test_wherever_the_room_ends_the_store_is_whole(small_disk: Callable[..., Disk], tmp_path: Path, leave: int) -> None:
    """From no byte at all to nearly enough: each build ends at another place."""
    disk = small_disk("size=8m")
    disk.store.ensure()
    disk.fill(leave=leave)
    plan = plan_of(code(tmp_path / "code", files=3, size=30_000))
    with pytest.raises(StoreError, match="no space left on device"):
        build(plan, disk.store)
    (disk.at / "filler").unlink()
    build(plan, disk.store)
    disk.is_whole_and_clean()


def test_garbage_is_collected_on_a_full_disk(small_disk: Callable[..., Disk], tmp_path: Path) -> None:
    disk = small_disk("size=16m")
    image = build(plan_of(code(tmp_path / "code", files=4, size=1 << 20)), disk.store).image
    disk.fill(leave=0)
    with pytest.raises(StoreError, match="no space left on device"):
        disk.store.attach(image, "recipe", b"x" * 10_000)
    gone = collect(disk.store, Rules(max_bytes=0))
    assert [image.digest] == [one.digest for one in gone.images]
    assert gone.freed_bytes > 4 << 20
    (disk.at / "filler").unlink()
    disk.is_whole_and_clean()


def test_a_store_on_a_read_only_disk_serves_what_it_has(small_disk: Callable[..., Disk], tmp_path: Path) -> None:
    disk = small_disk("size=60m")
    plan = plan_of(code(tmp_path / "code", files=1, size=10))
    image = build(plan, disk.store).image
    disk.remount("ro")
    try:
        again = build(plan, disk.store)
        assert (image.digest, True) == (again.image.digest, again.cached)
        del again  # it holds a file of the disk open
        with pytest.raises(StoreError, match="read-only file system") as failure:
            build(plan_of(code(tmp_path / "other", files=1, size=10)), disk.store)
        assert "LAUNCH_HOME names another place" in (failure.value.hint or "")
        with pytest.raises(StoreError, match="read-only file system"):
            pin(disk.store, image)
        assert [] == check(disk.store)
    finally:
        disk.remount("rw")
