"""An image is made again from its recipe; where it comes out otherwise, that is shown."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from launcher.errors import ConfigError, LaunchError
from launcher.plan.images.recipe import attach_recipe
from launcher.plan.images.verify import Verification, verify
from runtime.build.builder import build
from runtime.build.plan import BuildPlan, ContextFiles, CopyFiles, CopyIn, ImageConfig, MakeVenv, Step
from runtime.light_dataclasses import replace
from runtime.oci.digest import digest_bytes
from runtime.state_dir import StateDir
from runtime.store.records import Image
from runtime.store.store import Store

PROGRAM = b"print('hello')\n"


@pytest.fixture
def store(state: StateDir) -> Store:
    return Store(state.store).ensure()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "code/deep").mkdir(parents=True)
    (tmp_path / "code/train.py").write_bytes(PROGRAM)
    (tmp_path / "code/deep/run.sh").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "code/link").symlink_to("train.py")
    return tmp_path / "code"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files() -> tuple[tuple[str, int, str], ...]:
    return (
        ("deep/run.sh", 0o755, sha256(b"#!/bin/sh\n")),
        ("link", 0o120777, sha256(b"train.py")),
        ("train.py", 0o644, sha256(PROGRAM)),
    )


def plan_of(*steps: Step, config: ImageConfig | None = None) -> BuildPlan:
    venv = MakeVenv("cpython-3.13.5-abc", "/usr/bin/python3.13", "3.13.5")
    return BuildPlan(steps=(venv, *steps), config=config or ImageConfig())


def copy_in(code: Path) -> CopyIn:
    return CopyIn(os.fspath(code), files(), "/workspace", digest_bytes(repr(files()).encode()))


def recorded(store: Store, plan: BuildPlan) -> Image:
    image = build(plan, store).image
    attach_recipe(image, store, build=plan)
    return image


def verified(image: Image, store: Store, state: StateDir, *, keep: bool = False) -> Verification:
    return verify(image, store, state=state, environ={}, keep=keep)


def leftovers(store: Store) -> list[str]:
    return [name for name in os.listdir(store.root / "tmp") if name != ".gate"]


def test_an_unchanged_image_is_identical_and_nothing_is_left(store: Store, state: StateDir, code: Path) -> None:
    image = recorded(store, plan_of(copy_in(code)))
    verdict = verified(image, store, state)
    assert (True, (), ()) == (verdict.identical, verdict.layers, verdict.notes)
    assert [] == leftovers(store)


def test_code_that_went_on_is_taken_from_the_image(store: Store, state: StateDir, code: Path) -> None:
    image = recorded(store, plan_of(copy_in(code)))
    (code / "train.py").write_text("print('later')\n")
    (code / "link").unlink()
    verdict = verified(image, store, state)
    assert verdict.identical
    assert "`link` and 1 more in" in verdict.notes[0]


def test_a_context_that_is_gone_is_taken_from_the_image(store: Store, state: StateDir, code: Path) -> None:
    chosen = tuple((path, f"src/{path}", mode, digest) for path, mode, digest in files())
    copy = CopyFiles(ContextFiles(os.fspath(code), chosen, single=False), "/app/", label="COPY . /app/")
    image = recorded(store, plan_of(copy))
    code.rename(code.with_name("elsewhere"))
    verdict = verified(image, store, state)
    assert verdict.identical


def test_a_file_that_is_nowhere_any_more_is_named(store: Store, state: StateDir, code: Path) -> None:
    plan = plan_of(copy_in(code))
    image = build(plan_of(), store).image
    attach_recipe(image, store, build=plan)
    (code / "train.py").unlink()
    with pytest.raises(LaunchError, match=r"train\.py` changed since .* no copy"):
        verified(image, store, state)
    assert [] == leftovers(store)


def test_a_layer_that_comes_out_otherwise_is_shown_file_by_file(store: Store, state: StateDir, code: Path) -> None:
    plan = plan_of(copy_in(code))
    good = build(plan, store).image
    with store.staging() as staging:
        root = staging / "root"
        (root / "workspace").mkdir(parents=True)
        (root / "workspace/train.py").write_text("print('hallo')\n")
        (root / "workspace/train.py").chmod(0o755)
        wrong = store.publish(digest_bytes(b"wrong"), root, label="code")
    manifest = {**good.manifest, "annotations": {"made": "wrongly"}}
    image = store.put_image(config=good.config, manifest=manifest, layers=(good.layers[0], wrong))
    attach_recipe(image, store, build=plan)
    verdict = verified(image, store, state)
    assert not verdict.identical
    (layer,) = verdict.layers
    assert (2, wrong.diff_id, good.layers[1].diff_id) == (layer.position, layer.recorded, layer.rebuilt)
    by_path = {file.path: file for file in layer.files}
    assert ("mode 0755 → 0644", "content (15 bytes)") == by_path["workspace/train.py"].what
    assert ("-print('hallo')", "+print('hello')") == by_path["workspace/train.py"].detail
    assert ("only rebuilt: link",) == by_path["workspace/link"].what


def test_another_configuration_is_shown(store: Store, state: StateDir, code: Path) -> None:
    plan = plan_of(copy_in(code), config=ImageConfig(env={"A": "1"}))
    image = build(plan, store).image
    attach_recipe(image, store, build=replace(plan, config=ImageConfig(env={"A": "2"})))
    verdict = verified(image, store, state)
    assert ((), ("config.Env: ['A=1'] → ['A=2']",)) == (verdict.layers, verdict.configuration)


def test_the_rebuilt_image_can_be_kept(store: Store, state: StateDir, code: Path) -> None:
    image = recorded(store, plan_of(copy_in(code)))
    for _ in range(2):
        verdict = verified(image, store, state, keep=True)
        assert verdict.kept is not None
        assert [image.digest] == [kept.digest for kept in Store(StateDir(verdict.kept).store).images()]
    assert [] == leftovers(store)


def test_an_image_without_a_recipe_cannot_be_verified(store: Store, state: StateDir) -> None:
    image = build(plan_of(), store).image
    with pytest.raises(ConfigError, match="has no recipe"):
        verified(image, store, state)
