"""Why a layer has to be made: what changed since the last one of the same kind and name."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.build.builder import build, explain
from runtime.build.cache_key import key_fields, step_key
from runtime.build.miss_reason import miss_reasons
from runtime.build.plan import BuildPlan, CopyIn, DebPackage, ImageConfig, InstallWheel, MakeVenv, RunCommand, Step, UnpackDebs
from runtime.build.step_label import history_label, step_label
from runtime.oci.digest import digest_bytes
from runtime.store.store import Store

NUMPY = InstallWheel("numpy", "2.0", "a" * 64, "numpy-2.0.whl", "cpython-3.13.5-abc", "3.13")
DEBS = tuple(DebPackage(name, "1", "amd64", "main", f"pool/{name}.deb", 5, name[0] * 64) for name in ("apt", "bash", "cron"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def code(tmp_path: Path, **files: str) -> CopyIn:
    source = tmp_path / "code"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    listed = []
    for name, text in sorted(files.items()):
        (source / name).write_text(text)
        listed.append((name, 0o644, hashlib.sha256(text.encode()).hexdigest()))
    return CopyIn(str(source), tuple(listed), "/workspace", digest_bytes(repr(listed).encode()))


def was_built(step: Step, store: Store) -> None:
    with store.staging() as staging:
        root = staging / "root"
        root.mkdir()
        store.publish(step_key(step, None), root, label="x", fields=key_fields(step, None))


def reasons(store: Store, *steps: Step) -> list[tuple[str, ...]]:
    return miss_reasons(explain(BuildPlan(steps, ImageConfig()), store), store)


def test_code_names_the_files(store: Store, tmp_path: Path) -> None:
    build(BuildPlan((code(tmp_path, train="1", old="2", same="3"),), ImageConfig()), store)
    (why,) = reasons(store, code(tmp_path, train="9", new="2", same="3"))
    assert ("code: train changed, new added, old removed",) == why


def test_a_hit_has_no_reason(store: Store, tmp_path: Path) -> None:
    step = code(tmp_path, train="1")
    build(BuildPlan((step,), ImageConfig()), store)
    assert [()] == reasons(store, step)


def test_another_version_of_a_wheel_is_one_line(store: Store) -> None:
    was_built(NUMPY, store)
    newer = replace(NUMPY, version="2.1", filename="numpy-2.1.whl", sha256="b" * 64)
    assert [("version: 2.0 → 2.1",)] == reasons(store, newer)


def test_the_same_version_for_another_interpreter(store: Store) -> None:
    was_built(NUMPY, store)
    assert [("interpreter: cpython-3.13.5-abc → cpython-3.13.6-def",)] == reasons(
        store, replace(NUMPY, interpreter="cpython-3.13.6-def")
    )


def test_a_wheel_that_was_published_anew_under_its_name(store: Store) -> None:
    was_built(NUMPY, store)
    assert [("sha256: aaaaaaaaaaaa → bbbbbbbbbbbb",)] == reasons(store, replace(NUMPY, sha256="b" * 64))


def test_packages_of_a_base(store: Store) -> None:
    was_built(UnpackDebs("trixie", DEBS), store)
    apt, bash, _ = DEBS
    now = (replace(apt, version="2", sha256="1" * 64), replace(bash, sha256="2" * 64), replace(bash, name="dash"))
    assert [("packages: apt 1 → 2, bash 1 is another file, dash added, cron removed",)] == reasons(
        store, UnpackDebs("trixie", now)
    )


def test_what_was_never_built_and_what_waits_for_it(store: Store) -> None:
    was_built(NUMPY, store)
    steps = (UnpackDebs("trixie", DEBS), RunCommand(("dpkg",)), MakeVenv("i", "/usr/bin/python3", "3.13.5"))
    assert [
        ("was never built here",),
        ("depends on a layer below that has to be built first",),
        ("was never built here",),
    ] == reasons(store, *steps)


def test_a_layer_that_was_removed(store: Store) -> None:
    was_built(NUMPY, store)
    for layer in (store.root / "layers").iterdir():
        shutil.rmtree(layer)
    assert [("was built before, and its layer is no longer in the store",)] == reasons(store, NUMPY)


def test_the_last_image_of_an_experiment_comes_before_anothers_newer_layer(store: Store, tmp_path: Path) -> None:
    mine = build(BuildPlan((code(tmp_path, train="1"),), ImageConfig()), store).image
    build(BuildPlan((code(tmp_path, other="1"),), ImageConfig()), store)
    states = explain(BuildPlan((code(tmp_path, train="2"),), ImageConfig()), store)
    assert [("code: train changed",)] == miss_reasons(states, store, last=mine)


def test_words_for_people_may_change_and_those_of_an_images_history_may_not(tmp_path: Path) -> None:
    one_file, one_deb = code(tmp_path, train="1"), UnpackDebs("trixie", DEBS[:1], onto_base=True)
    assert ["code in /workspace (1 file)", "debian trixie: 1 more package"] == [step_label(step) for step in (one_file, one_deb)]
    assert ["code in /workspace (1 files)", "debian trixie: 1 more packages"] == [
        history_label(step) for step in (one_file, one_deb)
    ]
    assert "debian trixie: 3 packages" == step_label(UnpackDebs("trixie", DEBS)) == history_label(UnpackDebs("trixie", DEBS))
