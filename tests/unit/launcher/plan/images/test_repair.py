"""What is damaged is made again from where it came from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from launcher.plan.images.recipe import attach_recipe
from launcher.plan.images.repair import RepairResult, repair
from runtime.build.builder import build
from runtime.build.plan import BuildPlan, CopyIn, ImageConfig, MakeVenv
from runtime.oci.digest import digest_bytes
from runtime.state_dir import StateDir
from runtime.store.check import Problem, check, remove
from runtime.store.records import Image
from runtime.store.store import Store

PROGRAM = b"print('hello')\n"


@pytest.fixture
def store(state: StateDir) -> Store:
    return Store(state.store).ensure()


@pytest.fixture
def plan(tmp_path: Path) -> BuildPlan:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_bytes(PROGRAM)
    files = (("train.py", 0o644, hashlib.sha256(PROGRAM).hexdigest()),)
    venv = MakeVenv("cpython-3.13.5-abc", "/usr/bin/python3.13", "3.13.5")
    return BuildPlan((venv, CopyIn(os.fspath(tmp_path / "code"), files, "/workspace", digest_bytes(b"x"))), ImageConfig())


@pytest.fixture
def image(store: Store, plan: BuildPlan) -> Image:
    image = build(plan, store).image
    attach_recipe(image, store, build=plan)
    return image


def repaired(store: Store, state: StateDir, *, in_use: tuple[str, ...] = ()) -> RepairResult:
    return repair(check(store), store, state=state, environ={}, in_use=in_use, say=lambda text: None)


def spoil(store: Store, image: Image) -> Path:
    path = store.layer_dir(image.layers[1]) / "workspace/train.py"
    path.write_bytes(PROGRAM.replace(b"hello", b"hallo"))
    return path


def test_a_damaged_layer_is_built_again_at_once(store: Store, state: StateDir, image: Image) -> None:
    path = spoil(store, image)
    assert RepairResult(1, ()) == repaired(store, state)
    assert PROGRAM == path.read_bytes()
    assert [] == check(store)


def test_an_image_that_lacks_a_layer_is_completed(store: Store, state: StateDir, image: Image) -> None:
    remove(store, Problem("layer", image.layers[0].diff_id, ""))
    assert RepairResult(1, ()) == repaired(store, state)
    assert [] == check(store)


def test_a_damaged_record_of_an_image_is_written_again(store: Store, state: StateDir, image: Image) -> None:
    (store.root / "images" / f"{image.digest.hex}.json").write_text("")
    assert RepairResult(1, ()) == repaired(store, state)
    assert [image.digest] == [one.digest for one in store.images()]


def test_what_cannot_be_made_again_is_named_with_the_reason(store: Store, state: StateDir, image: Image, tmp_path: Path) -> None:
    spoil(store, image)
    (tmp_path / "code/train.py").write_text("later")
    done = repaired(store, state)
    assert 0 == done.made_again
    assert "train.py` changed since" in done.left[0]


def test_an_image_without_a_recipe_is_named_with_who_brings_it(store: Store, state: StateDir, plan: BuildPlan) -> None:
    image = build(plan, store).image
    store.name_image(image, "lab/tool")
    spoil(store, image)
    assert "`launch pull lab/tool`" in repaired(store, state).left[0]


def test_what_a_run_uses_stays_until_that_has_ended(store: Store, state: StateDir, image: Image) -> None:
    path = spoil(store, image)
    done = repaired(store, state, in_use=(image.digest,))
    assert "in use by a run" in done.left[0]
    assert path.exists()


def test_an_image_that_comes_out_otherwise_is_named(store: Store, state: StateDir, image: Image, plan: BuildPlan) -> None:
    other = build(BuildPlan(plan.steps, ImageConfig(env={"A": "1"})), store).image
    attach_recipe(other, store, build=plan)
    spoil(store, other)
    done = repaired(store, state)
    assert f"comes out as `{image.digest.short}` now" in done.left[0]


def test_a_damaged_blob_of_unknown_origin_goes(store: Store, state: StateDir) -> None:
    digest, _ = store.put_blob([b"deb"])
    store.blob_path(digest).chmod(0o644)
    store.blob_path(digest).write_bytes(b"bed")
    assert RepairResult(0, ()) == repaired(store, state)
    assert not store.has_blob(digest)
