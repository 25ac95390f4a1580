"""COPY of a context, and WORKDIR: where files land, and whose they are."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from copied import FILE, NEW, context, copy, directory, entries, file, layer, link

from runtime.build.copy.apply_copy_files import apply_make_directory
from runtime.build.plan import ContextFiles, CopyFiles, MakeDirectory
from runtime.errors import BadContent, BuildError
from runtime.layer.tree import LAYER_MTIME_S
from runtime.light_dataclasses import replace
from runtime.store.store import Store


def test_a_single_file_gets_the_name_of_the_target(store: Store, tmp_path: Path) -> None:
    made = copy(store, CopyFiles(context(tmp_path, "a.txt", single=True), "/opt/b.txt"))
    assert {"opt": NEW, "opt/b.txt": FILE} == entries(store, made)
    assert LAYER_MTIME_S == (store.layer_dir(made) / "opt" / "b.txt").stat().st_mtime


def test_a_slash_at_the_end_makes_the_target_a_directory(store: Store, tmp_path: Path) -> None:
    made = copy(store, CopyFiles(context(tmp_path, "a.txt", single=True), "/opt/b.txt/"))
    assert {"opt": NEW, "opt/b.txt": NEW, "opt/b.txt/a.txt": FILE} == entries(store, made)


def test_a_file_goes_into_a_directory_that_is_there_and_which_keeps_its_owner_and_mode(store: Store, tmp_path: Path) -> None:
    base = layer(store, directory("opt", 0o700, 5, 6), directory("opt/in", 0o1777))
    made = copy(store, CopyFiles(context(tmp_path, "a.txt", single=True), "/opt/in"), [base])
    assert {"opt": ("dir", 0o700, 5, 6), "opt/in": ("dir", 0o1777, 0, 0), "opt/in/a.txt": FILE} == entries(store, made)


def test_links_in_the_target_are_followed_inside_the_root(store: Store, tmp_path: Path) -> None:
    base = layer(store, directory("usr"), directory("usr/bin"), link("bin", "usr/bin"), link("out", "../../../usr"))
    made = copy(store, CopyFiles(context(tmp_path, "a", single=True), "/bin/"), [base])
    assert {"usr": NEW, "usr/bin": NEW, "usr/bin/a": FILE} == entries(store, made)
    made = copy(store, CopyFiles(context(tmp_path, "a", single=True), "/out/new/b"), [base])
    assert {"usr": NEW, "usr/new": NEW, "usr/new/b": FILE} == entries(store, made)


def test_a_target_that_is_a_link_to_a_file_is_written_through(store: Store, tmp_path: Path) -> None:
    base = layer(store, directory("etc"), file("etc/real"), link("etc/name", "real"))
    made = copy(store, CopyFiles(context(tmp_path, "a", single=True), "/etc/name"), [base])
    assert {"etc": NEW, "etc/real": FILE} == entries(store, made)


def test_a_link_inside_the_target_directory_is_replaced(store: Store, tmp_path: Path) -> None:
    base = layer(store, directory("etc"), file("etc/real"), link("etc/a", "real"))
    made = copy(store, CopyFiles(context(tmp_path, "a", "b"), "/etc"), [base])
    assert {"etc": NEW, "etc/a": FILE, "etc/b": FILE} == entries(store, made)


def test_the_content_of_a_directory_is_copied_and_not_the_directory(store: Store, tmp_path: Path) -> None:
    made = copy(store, CopyFiles(context(tmp_path, "x/", "x/a", "y"), "/srv"))
    assert {"srv": NEW, "srv/x": NEW, "srv/x/a": FILE, "srv/y": FILE} == entries(store, made)


def test_several_files_go_into_a_directory_that_is_there_and_never_one_over_the_other(store: Store, tmp_path: Path) -> None:
    """BuildKit's rule for `COPY a b /app`; where there is no directory, it would keep `b` alone, as `/app`."""
    step = CopyFiles(context(tmp_path, "a", "b"), "/app", needs_directory=True)
    made = copy(store, step, [layer(store, directory("srv"), link("app", "srv"))])
    assert {"srv": NEW, "srv/a": FILE, "srv/b": FILE} == entries(store, made)
    with pytest.raises(BuildError, match=r"`/app` is no directory in the layers below") as refused:
        copy(store, step)
    assert "end it with a slash: `/app/`" == refused.value.hint


def test_a_directory_of_the_source_sets_the_mode_of_one_that_is_there(store: Store, tmp_path: Path) -> None:
    base = layer(store, directory("srv", 0o700, 9, 9), directory("srv/x", 0o700, 9, 9))
    made = copy(store, CopyFiles(context(tmp_path, "x/", "x/a"), "/srv"), [base])
    assert {"srv": ("dir", 0o700, 9, 9), "srv/x": NEW, "srv/x/a": FILE} == entries(store, made)


@pytest.mark.parametrize(
    ("target", "names", "complaint"),
    [
        ("/there/a", ("a",), "`/there` is no directory"),
        ("/dir", ("a",), "cannot copy a file to `/dir/a`: it is a directory"),
        ("/over", ("x/", "x/a"), "cannot copy a directory to `/over/x`"),
    ],
)
def test_what_cannot_be_placed_is_named(
    store: Store, tmp_path: Path, target: str, names: tuple[str, ...], complaint: str
) -> None:
    base = layer(
        store, file("there"), directory("dir"), directory("dir/a"), directory("over"), link("over/x", "/dir"), directory("x")
    )
    with pytest.raises(BuildError, match=complaint):
        copy(store, CopyFiles(context(tmp_path, *names, single=len(names) == 1), target), [base])


def test_chown_with_names_and_chmod(store: Store, tmp_path: Path) -> None:
    base = layer(
        store,
        directory("etc"),
        file("etc/passwd"),
        file("etc/group"),
        etc__passwd="web:x:33:44::/:/x\n",
        etc__group="s:x:9:web\n",
    )
    step = CopyFiles(context(tmp_path, "x/", "x/a"), "/new", owner="web:s", mode=0o750)
    made = copy(store, step, [base])
    assert {"new": ("dir", 0o755, 33, 9), "new/x": ("dir", 0o750, 33, 9), "new/x/a": ("file", 0o750, 33, 9)} == entries(
        store, made
    )
    with pytest.raises(BuildError, match="no user `nobody`"):
        copy(store, replace(step, owner="nobody"), [base])


def test_link_takes_the_target_as_it_is_written(store: Store, tmp_path: Path) -> None:
    base = layer(store, directory("usr", 0o700), directory("usr/bin"), link("bin", "usr/bin"))
    step = CopyFiles(context(tmp_path, "a", single=True), "/bin/", link=True)
    assert {"bin": NEW, "bin/a": FILE} == entries(store, copy(store, step, [base]))
    other = layer(store, directory("else"))
    assert copy(store, step, [base]).key == copy(store, step, [other]).key, "its key has no parent"


def test_a_changed_source_is_an_error_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    step = CopyFiles(context(tmp_path, "a", single=True), "/a")
    (tmp_path / "context" / "a").write_text("another")
    layers = store.layers()
    with pytest.raises(BuildError, match=r"`.*context/a` changed while the image was built: its content is another one now"):
        copy(store, step)
    (tmp_path / "context" / "a").unlink()
    (tmp_path / "context" / "a").symlink_to("/etc/passwd")
    with pytest.raises(BuildError, match="changed while the image was built"):
        copy(store, step)
    assert layers == store.layers()


def test_a_context_of_a_plan_that_leads_out_is_refused(store: Store, tmp_path: Path) -> None:
    for source, path in (("../../etc/passwd", "a"), ("a", "../../a"), ("a", "/etc/a")):
        files = ContextFiles(str(tmp_path), ((source, path, 0o644, "0" * 64),), False)
        with pytest.raises(BadContent, match="not plain relative paths"):
            copy(store, CopyFiles(files, "/x"))


def test_links_of_a_context_are_copied_as_links_and_checked(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "context"
    root.mkdir()
    (root / "l").symlink_to("/etc/passwd")
    files = ContextFiles(str(root), (("l", "l", 0o120777, hashlib.sha256(b"/etc/passwd").hexdigest()),), False)
    made = copy(store, CopyFiles(files, "/x"))
    assert "/etc/passwd" == os.readlink(store.layer_dir(made) / "x" / "l")
    (root / "l").unlink()
    (root / "l").symlink_to("elsewhere")
    with pytest.raises(BuildError, match="the link leads elsewhere now"):
        copy(store, CopyFiles(files, "/y"))


def test_a_directory_is_made_where_it_is_missing_and_belongs_to_its_owner(store: Store) -> None:
    base = layer(store, directory("srv", 0o700), link("s", "srv"))
    made = apply_make_directory(MakeDirectory("/s/a/b", owner="5:6"), store=store, below=[base])
    assert {"srv": ("dir", 0o700, 0, 0), "srv/a": ("dir", 0o755, 5, 6), "srv/a/b": ("dir", 0o755, 5, 6)} == entries(store, made)
    assert {} == entries(store, apply_make_directory(MakeDirectory("/srv"), store=store, below=[base]))
    with pytest.raises(BuildError, match="is no directory"):
        apply_make_directory(MakeDirectory("/f"), store=store, below=[layer(store, file("f"))])
