"""COPY --from: what stays of a file of another stage, which files a pattern chooses, and which of two builds copies again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from copied import FILE, NEW, context, copy, directory, entries, file, layer, link, text

from runtime.build.plan import CopyFiles, StageFiles
from runtime.errors import BuildError
from runtime.layer.tree import TreeEntry
from runtime.oci.digest import digest_bytes
from runtime.store.records import Layer
from runtime.store.store import Store


@pytest.fixture
def stage(store: Store) -> Layer:
    return layer(
        store,
        directory("app", 0o750, 7, 8),
        directory("app/bin", 0o700, 7, 8),
        file("app/bin/one", 0o4755, 7, 8, xattrs=(("user.note", b"x"),), mtime=1234567890),
        TreeEntry("app/bin/two", "hardlink", link="app/bin/one"),
        link("app/current", "bin"),
        file("app/a.so.1"),
        file("app/b.so.1"),
        file("app/[x]"),
        directory("app/lib.so.1"),
        file("app/lib.so.1/in"),
        app__bin__one="1",
    )


def test_files_of_a_stage_keep_owner_mode_time_xattrs_and_hard_links(store: Store, stage: Layer) -> None:
    made = copy(store, CopyFiles(StageFiles(0, ("/app/",)), "/srv"), stage=[stage])
    assert NEW == entries(store, made)["srv"], "the content is copied, and not the directory"
    assert ("dir", 0o700, 7, 8) == entries(store, made)["srv/bin"]
    one, two = (next(each for each in store.tree_of(made) if each.path == f"srv/bin/{name}") for name in ("one", "two"))
    assert (0o4755, 7, 8, (("user.note", b"x"),), 1234567890) == (one.mode, one.uid, one.gid, one.xattrs, one.mtime)
    assert ("hardlink", "srv/bin/one") == (two.type, two.link)
    places = [store.layer_dir(made) / "srv" / "bin" / name for name in ("one", "two")]
    assert places[0].stat().st_ino == places[1].stat().st_ino
    assert "bin" == os.readlink(store.layer_dir(made) / "srv" / "current")


@pytest.mark.parametrize(
    ("pattern", "target", "expected"),
    [
        ("app/bin/one", "/x", {"x"}),
        ("app/bin/two", "/x/", {"x", "x/two"}),
        ("app/current/one", "/x", {"x"}),
        ("app/*.so.1", "/x/", {"x", "x/a.so.1", "x/b.so.1", "x/in"}),
        ("app/?.so.[12]", "/x/", {"x", "x/a.so.1", "x/b.so.1"}),
        ("app/\\[x\\]", "/x/", {"x", "x/[x]"}),
        ("app/*/one", "/x/", {"x", "x/one"}),
        ("app/*.none", "/x/", set()),
        ("app/current", "/x", {"x", "x/one", "x/two"}),
    ],
)
def test_patterns_choose_in_a_stage_as_go_does(store: Store, stage: Layer, pattern: str, target: str, expected: set[str]) -> None:
    assert expected == set(entries(store, copy(store, CopyFiles(StageFiles(0, (pattern,)), target), stage=[stage])))


def test_a_name_that_the_stage_does_not_have_is_an_error(store: Store, stage: Layer) -> None:
    with pytest.raises(BuildError, match="the stage has no `/app/none`"):
        copy(store, CopyFiles(StageFiles(0, ("app/none",)), "/x"), stage=[stage])


def test_chown_goes_for_files_of_a_stage_too(store: Store, stage: Layer) -> None:
    made = copy(store, CopyFiles(StageFiles(0, ("app/bin",)), "/x", owner="1:2"), stage=[stage])
    assert {(1, 2)} == {owner for _, _, *owner in entries(store, made).values() for owner in [tuple(owner)]}


def test_a_stage_that_was_made_otherwise_with_the_same_files_ends_in_the_same_layer(store: Store, stage: Layer) -> None:
    step = CopyFiles(StageFiles(0, ("app/a.so.1",)), "/x")
    extra = layer(store, file("unrelated"))
    one = copy(store, step, stage=[stage], stages=["made so"])
    two = copy(store, step, stage=[stage, extra], stages=["made otherwise"])
    assert one.key != two.key
    assert (one.diff_id, 1) == (two.diff_id, sum(store.find(key) is not None for key in {one.key}))


def test_only_a_changed_landing_copies_again(store: Store, tmp_path: Path) -> None:
    step = CopyFiles(context(tmp_path, "a", single=True), "/opt/")
    first = copy(store, step, [layer(store, directory("opt"), file("x"))])
    os.unlink(tmp_path / "context" / "a")  # nothing may be read again
    again = copy(store, step, [layer(store, directory("opt"), file("y"))])
    assert (first.diff_id, True) == (again.diff_id, first.key != again.key)
    elsewhere = copy(store, step, [layer(store, directory("opt", 0o700))])
    assert first.diff_id != elsewhere.diff_id


def test_two_sources_with_one_name_leave_the_later(store: Store) -> None:
    stage = layer(
        store,
        directory("a"),
        file("a/f"),
        TreeEntry("a/g", "hardlink", link="a/f"),
        directory("b"),
        file("b/f"),
        a__f="old",
        b__f="new",
    )
    made = copy(store, CopyFiles(StageFiles(0, ("a", "b")), "/x/"), stage=[stage])
    assert ("new", "old") == (text(store, made, "x/f"), text(store, made, "x/g"))


def test_several_files_without_a_directory_as_target_are_refused(store: Store, stage: Layer) -> None:
    step = CopyFiles(StageFiles(0, ("app/*.so.1",)), "/x")
    with pytest.raises(
        BuildError, match=r"`/x` is no directory in the layers below, and several sources are to be copied into it"
    ):
        copy(store, step, stage=[stage])
    made = copy(store, step, [layer(store, directory("x"))], stage=[stage])
    assert {"x", "x/a.so.1", "x/b.so.1", "x/in"} == set(entries(store, made))


def test_a_deletion_below_does_not_come_back(store: Store, tmp_path: Path) -> None:
    base = layer(store, directory("d", 0o700))
    with store.staging() as staging:
        root = staging / "root"
        root.mkdir()
        os.mknod(root / "d", 0o20000, 0)
        gone = store.publish(digest_bytes(b"gone"), root, label="gone")
    made = copy(store, CopyFiles(context(tmp_path, "a", single=True), "/d/"), [base, gone])
    assert {"d": NEW, "d/a": FILE} == entries(store, made)
