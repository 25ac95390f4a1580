"""COPY of a context of which a part has changed: the rest are links into the layer before."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from copied import context, copy, text

from runtime.build.copy.apply_copy_files import apply_copy_in
from runtime.build.plan import ContextFiles, CopyFiles, CopyIn
from runtime.layer.tree import LAYER_MTIME_S
from runtime.oci.digest import digest_json
from runtime.store.check import check
from runtime.store.garbage import Rules, collect
from runtime.store.records import Layer
from runtime.store.store import Store

NAMES = ("a", "b", "d/c")


def copy_with(store: Store, at: Path, target: str = "/srv", **changed: str) -> Layer:
    """A copy of three files, each with its name or what *changed* says as content."""
    context(at, *NAMES)
    for name, content in changed.items():
        (at / "context" / name).write_text(content)
    return copy(store, CopyFiles(context(at, *NAMES), target))


def is_linked(store: Store, layers: tuple[Layer, Layer], path: str) -> bool:
    return os.path.samefile(*(store.layer_dir(layer) / path for layer in layers))


def test_what_has_not_changed_is_another_name_of_the_file_that_is_there(store: Store, tmp_path: Path) -> None:
    first = copy_with(store, tmp_path)
    second = copy_with(store, tmp_path, b="other")
    shared = [is_linked(store, (first, second), f"srv/{name}") for name in NAMES]
    assert [True, False, True] == shared
    assert ("b", "other") == (text(store, first, "srv/b"), text(store, second, "srv/b"))
    assert [] == check(store)


def test_the_layer_is_the_one_that_is_copied_into_an_empty_store(store: Store, tmp_path: Path) -> None:
    copy_with(store, tmp_path)
    linked = copy_with(store, tmp_path, b="other")
    assert linked.diff_id == copy_with(Store(tmp_path / "another").ensure(), tmp_path).diff_id


def test_nothing_is_read_again_that_the_layer_before_has(store: Store, tmp_path: Path) -> None:
    copy_with(store, tmp_path)
    again = context(tmp_path, *NAMES)
    (tmp_path / "context" / "a").unlink()
    (tmp_path / "context" / "b").write_text("other")
    listed = tuple((*entry[:3], hashlib.sha256(b"other").hexdigest()) if entry[0] == "b" else entry for entry in again.files)
    second = copy(store, CopyFiles(ContextFiles(again.root, listed, single=False), "/srv"))
    assert "a" == text(store, second, "srv/a")


def test_each_layer_lives_without_the_other(store: Store, tmp_path: Path) -> None:
    first = copy_with(store, tmp_path)
    second = copy_with(store, tmp_path, b="other")
    os.utime(store.layer_dir(first).with_name("layer.json"), (0, 0))
    assert [first.diff_id] == collect(store, Rules(unused_s=86_400.0)).layers
    assert ([], "a") == (check(store), text(store, second, "srv/a"))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda file: file.write_text("X"), id="other content"),
        pytest.param(lambda file: file.write_text(""), id="cut off"),
        pytest.param(lambda file: file.chmod(0o777), id="other mode"),
        pytest.param(lambda file: file.unlink(), id="gone"),
    ],
)
def test_what_is_damaged_in_the_layer_before_is_copied(store: Store, tmp_path: Path, damage: object) -> None:
    first = copy_with(store, tmp_path)
    file = store.layer_dir(first) / "srv/a"
    damage(file)  # type: ignore[operator]
    if file.exists():
        os.utime(file, (LAYER_MTIME_S, LAYER_MTIME_S))
    second = copy_with(store, tmp_path, b="other")
    assert "a" == text(store, second, "srv/a")
    assert [first.diff_id] == [problem.digest for problem in check(store)]


def test_a_file_with_another_mode_is_another_file(store: Store, tmp_path: Path) -> None:
    first = copy_with(store, tmp_path)
    made = context(tmp_path, *NAMES)
    programs = tuple((source, path, 0o755, sha256) for source, path, _, sha256 in made.files)
    second = copy(store, CopyFiles(ContextFiles(made.root, programs, single=False), "/srv"))
    assert not is_linked(store, (first, second), "srv/a")
    assert 0o644 == (store.layer_dir(first) / "srv/a").stat().st_mode & 0o7777


def test_another_place_has_its_own_files(store: Store, tmp_path: Path) -> None:
    layers = copy_with(store, tmp_path), copy_with(store, tmp_path, "/srv/")
    assert layers[0].diff_id == layers[1].diff_id
    elsewhere = copy_with(store, tmp_path, "/opt")
    assert (store.layer_dir(elsewhere) / "opt/a").stat().st_nlink == 1


def test_the_code_is_copied_in_the_same_way(store: Store, tmp_path: Path) -> None:
    made = []
    for content in ("one", "two"):
        context(tmp_path, *NAMES)
        (tmp_path / "context" / "b").write_text(content)
        chosen = context(tmp_path, *NAMES)
        files = tuple((path, mode, sha256) for path, _, mode, sha256 in chosen.files)
        made.append(apply_copy_in(CopyIn(chosen.root, files, "/workspace", digest_json(files)), store=store))
    layers = made[0], made[1]
    assert [True, False] == [is_linked(store, layers, f"workspace/{name}") for name in ("a", "b")]


def test_many_files_are_written_by_several_threads_and_give_the_same_layer(store: Store, tmp_path: Path) -> None:
    names = tuple(f"{number:03}" for number in range(300))
    first = copy(store, CopyFiles(context(tmp_path, *names), "/srv"))
    (tmp_path / "context" / "150").write_text("other")
    second = copy(store, CopyFiles(context(tmp_path, *names), "/srv"))
    whole = copy(Store(tmp_path / "another").ensure(), CopyFiles(context(tmp_path, *names), "/srv"))
    assert (second.diff_id, second.size_bytes) == (whole.diff_id, whole.size_bytes)
    assert [name for name in names if not is_linked(store, (first, second), f"srv/{name}")] == ["150"]
    assert [] == check(store)
