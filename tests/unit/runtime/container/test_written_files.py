"""What a program wrote moves out of its writable layer: files of any kind, and nowhere but into the target."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.container.written_files import Left, move_written


def everything(_path: str, _place: Path) -> bool:
    return True


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    (tmp_path / "overlay/u/workspace").mkdir(parents=True)
    (tmp_path / "outputs").mkdir()
    return tmp_path / "overlay"


def write(file: Path, text: str = "x") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def move(overlay: Path, target: Path | None = None, wanted=everything) -> Left:
    return move_written(overlay, "/workspace", target or overlay.parent / "outputs", "workspace", is_wanted=wanted)


def found(target: Path) -> list[str]:
    return sorted(str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir() or path.is_symlink())


def test_files_and_links_move_with_their_directories(overlay: Path) -> None:
    write(overlay / "u/workspace/model.txt", "weights")
    write(overlay / "u/workspace/results/a/r.json")
    (overlay / "u/workspace/last").symlink_to("model.txt")
    assert Left() == move(overlay)
    assert ["workspace/last", "workspace/model.txt", "workspace/results/a/r.json"] == found(overlay.parent / "outputs")
    assert "weights" == (overlay.parent / "outputs/workspace/last").read_text()
    assert Left() == move(overlay)


def test_what_is_no_file_stays(overlay: Path) -> None:
    os.mkfifo(overlay / "u/workspace/pipe")
    (overlay / "u/workspace/empty").mkdir()
    assert (Left(), []) == (move(overlay), found(overlay.parent / "outputs"))


def test_what_is_not_wanted_is_named_and_what_is_nobodys_is_not(overlay: Path) -> None:
    for name in ("a.txt", "b.bin", "cache/c"):
        write(overlay / "u/workspace" / name)

    def wanted(path: str, _place: Path) -> bool | None:
        return None if path == "cache/" else path.endswith((".txt", "/"))

    assert Left(unwanted=1, names=("b.bin",)) == move(overlay, wanted=wanted)
    assert ["workspace/a.txt"] == found(overlay.parent / "outputs")


def test_a_later_attempt_replaces_what_an_earlier_one_wrote(overlay: Path) -> None:
    for text in ("first", "second"):
        write(overlay / "u/workspace/model.txt", text)
        assert Left() == move(overlay)
    assert "second" == (overlay.parent / "outputs/workspace/model.txt").read_text()


@pytest.mark.parametrize("planted", ["workspace", "workspace/results"])
def test_a_link_that_the_program_put_in_the_way_leads_nowhere(overlay: Path, tmp_path: Path, planted: str) -> None:
    """The outputs are the program's: a link there, to a directory of the machine, would have root write into it."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "outputs" / planted).parent.mkdir(exist_ok=True)
    (tmp_path / "outputs" / planted).symlink_to(tmp_path / "victim")
    write(overlay / "u/workspace/results/authorized_keys")
    left = move(overlay)
    assert (1, ("results/authorized_keys",), []) == (left.failed, left.names, found(tmp_path / "victim"))


def test_a_working_directory_that_is_a_link_is_not_followed(overlay: Path, tmp_path: Path) -> None:
    write(tmp_path / "victim/secret")
    (overlay / "u/workspace").rmdir()
    (overlay / "u/workspace").symlink_to(tmp_path / "victim")
    assert (Left(), ["secret"]) == (move(overlay), found(tmp_path / "victim"))


def test_directories_without_end_are_given_up(overlay: Path) -> None:
    deep = overlay / "u/workspace"
    for _ in range(100):
        deep = deep / "d"
    write(deep / "x")
    write(overlay / "u/workspace/y")
    left = move(overlay)
    assert (1, ["workspace/y"]) == (left.failed, found(overlay.parent / "outputs"))


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs a second file system")
def test_on_another_file_system_the_bytes_are_copied_and_holes_stay_holes(overlay: Path) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        sparse = write(overlay / "u/workspace/memmap.bin", "begin")
        with sparse.open("r+b") as file:
            file.seek(1 << 36)
            file.write(b"end")
        (overlay / "u/workspace/last").symlink_to("memmap.bin")
        assert Left() == move(overlay, Path(other))
        copy = Path(other) / "workspace/memmap.bin"
        with copy.open("rb") as file:
            file.seek(1 << 36)
            assert (b"end", "memmap.bin") == (file.read(), os.readlink(copy.with_name("last")))
        assert copy.stat().st_blocks * 512 < 1 << 20
        assert ["workspace/last", "workspace/memmap.bin"] == found(Path(other))
