"""A base from a registry: asked once, recorded, locked, and fetched by its digest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_registry import LoopbackRegistry, loopback_registry

from launcher.config.spec import Image
from launcher.errors import ConfigError, LaunchError, Origin
from launcher.plan.bases.base_image import pin_base
from launcher.plan.bases.base_lock_file import image_lock_text, read_image_lock
from launcher.plan.bases.imported_base import is_pinned, pin_reference
from launcher.plan.bases.pinning import Pinning
from runtime.build.plan import ImportImage, env_of
from runtime.state_dir import StateDir

ENVIRON = {"HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"}
HERE = Origin(file="x.yaml", line=3)


@pytest.fixture
def registry() -> Iterator[LoopbackRegistry]:
    with loopback_registry() as running:
        yield running


def test_a_registry_is_asked_once_and_again_for_a_refresh(registry: LoopbackRegistry, state: StateDir) -> None:
    name = f"{registry.host}/lab/base:v1"
    first = registry.put_image("lab/base", "v1", b"one", config={"Env": ["PATH=/bin", "X=1"], "Cmd": ["sh"]})
    assert not is_pinned(name, state=state)
    pinned = pin_reference(name, Pinning(state, ENVIRON))
    assert ImportImage(f"{name}@{first}", first) == pinned.step
    assert ({"PATH": "/bin", "X": "1"}, ["sh"]) == (env_of(pinned.config), pinned.config["Cmd"])
    second = registry.put_image("lab/base", "v1", b"two")
    registry.requests.clear()
    assert pinned == pin_reference(name, Pinning(state, ENVIRON))
    assert [] == registry.requests
    assert is_pinned(name, state=state)
    assert second == pin_reference(name, Pinning(state, ENVIRON, refresh=True)).step.manifest_digest
    assert second == pin_reference(name, Pinning(state, ENVIRON)).step.manifest_digest


def test_the_record_says_when_it_was_asked(registry: LoopbackRegistry, state: StateDir) -> None:
    registry.put_image("lab/base", "v1", b"one")
    pin_reference(f"{registry.host}/lab/base:v1", Pinning(state, ENVIRON))
    records = list((state.cache / "bases").glob("reference-*.json"))
    assert {f"{registry.host}/lab/base:v1"} == {
        json.loads(record.read_text())["reference"].partition("@")[0] for record in records
    }
    for record in records:
        assert json.loads(record.read_text())["asked_at"].endswith("+00:00")
        record.write_text("{")
    assert not is_pinned(f"{registry.host}/lab/base:v1", state=state)


def test_a_tag_that_moved_away_from_its_digest_is_a_warning(registry: LoopbackRegistry, state: StateDir) -> None:
    before = registry.put_image("lab/base", "v1", b"one")
    after = registry.put_image("lab/base", "v1", b"two")
    pinned = pin_reference(f"{registry.host}/lab/base:v1@{before}", Pinning(state, ENVIRON))
    assert before == pinned.step.manifest_digest
    (warning,) = pinned.warnings
    assert f"lab/base:v1` is `{after}` now" in warning
    assert () == pin_reference(f"{registry.host}/lab/base:v1@{after}", Pinning(state, ENVIRON)).warnings


def test_an_image_that_is_not_there_is_the_configurations_fault(registry: LoopbackRegistry, state: StateDir) -> None:
    with pytest.raises(ConfigError, match="manifest `v1` of `lab/base` is not found") as told:
        pin_reference(f"{registry.host}/lab/base:v1", Pinning(state, ENVIRON), origin=HERE)
    assert HERE == told.value.origin


def test_a_registry_that_is_not_there_is_not(state: StateDir) -> None:
    with pytest.raises(LaunchError, match=r"registry `127\.0\.0\.1:1` refuses connections") as told:
        pin_reference("127.0.0.1:1/lab/base:v1", Pinning(state, ENVIRON), origin=HERE)
    assert 125 == told.value.exit_code


def test_without_requirements_nobody_asks_for_python(registry: LoopbackRegistry, state: StateDir) -> None:
    registry.put_image("lab/base", "v1", b"one")
    image = Image(base=f"{registry.host}/lab/base:v1", requirements=())
    base = pin_base(image, Pinning(state, ENVIRON), apt=())
    assert base.interpreter is None
    assert {"PATH": "/bin", "X": "1"} == base.env
    assert not any("blobs" in path and "GET" in path for path in registry.paths()[3:])


def test_a_lock_is_used_while_it_is_for_this_image(registry: LoopbackRegistry, state: StateDir, tmp_path: Path) -> None:
    name = f"{registry.host}/lab/base:v1"
    locked = registry.put_image("lab/base", "v1", b"one")
    registry.put_image("lab/base", "v1", b"two")
    lock = tmp_path / "x.base.lock"
    lock.write_text(image_lock_text(name, f"{name}@{locked}", command="launch lock experiment=x"))
    base = pin_base(Image(base=name, requirements=()), Pinning(state, ENVIRON), apt=(), base_lock=lock)
    assert locked == base.digest
    assert f"{name}@{locked}" == base.steps[0].reference
    registry.put_image("lab/other", "v1", b"three")
    other = Image(base=f"{registry.host}/lab/other:v1", requirements=())
    base = pin_base(other, Pinning(state, ENVIRON), apt=(), base_lock=lock)
    (warning,) = base.warnings
    assert f"has drifted and is not used: it is for {name}, the base is {registry.host}/lab/other:v1" in warning


def test_a_damaged_lock_is_named_with_its_line(tmp_path: Path) -> None:
    lock = tmp_path / "x.base.lock"
    text = image_lock_text("python:3.12", "docker.io/library/python:3.12", command="launch lock")
    lock.write_text(text)
    with pytest.raises(ConfigError, match="damaged") as told:
        read_image_lock(lock, reference="python:3.12")
    assert told.value.origin is not None
    assert 4 == told.value.origin.line
