"""One flipped bit anywhere in a store is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.build.builder import build
from runtime.build.plan import BuildPlan, ImageConfig, MakeVenv
from runtime.store.check import Problem, check, remove
from runtime.store.records import Image
from runtime.store.store import Store


@pytest.fixture
def image(store: Store) -> Image:
    plan = BuildPlan((MakeVenv("cpython-3.13.5-abc", "/usr/bin/python3.13", "3.13.5"),), ImageConfig())
    return build(plan, store).image


def flip(path: Path) -> None:
    """One bit in the middle of *path*, which keeps its size, mode and time."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(status.st_mode & 0o7777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def kinds(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(problem.kind, problem.digest) for problem in problems]


def test_a_whole_store_has_no_problems(store: Store, image: Image) -> None:
    store.put_blob([b"deb"])
    seen: list[tuple[int, int]] = []
    assert [] == check(store, looked_at=lambda done, total: seen.append((done, total)))
    assert [(1, 2), (2, 2)] == seen


def test_a_store_that_was_never_made_has_none_either(tmp_path: Path) -> None:
    assert [] == check(Store(tmp_path / "nowhere"))


def test_a_flipped_bit_in_a_blob_is_found(store: Store) -> None:
    whole, broken = store.put_blob([b"whole"])[0], store.put_blob([b"broken"])[0]
    flip(store.blob_path(broken))
    problems = check(store)
    assert [("blob", broken)] == kinds(problems)
    remove(store, problems[0])
    assert [] == check(store)
    assert store.has_blob(whole)


@pytest.mark.parametrize("file", ["root/opt/venv/pyvenv.cfg", "tree.jsonl"])
def test_a_flipped_bit_in_a_layer_is_found(store: Store, image: Image, file: str) -> None:
    flip(store.layer_dir(image.layers[0]).parent / file)
    assert [("layer", image.layers[0].diff_id)] == kinds(check(store))


def test_a_changed_mode_of_an_unpacked_file_is_found(store: Store, image: Image) -> None:
    (store.layer_dir(image.layers[0]) / "opt/venv/pyvenv.cfg").chmod(0o600)
    assert [("layer", image.layers[0].diff_id)] == kinds(check(store))


def test_a_file_too_many_is_found(store: Store, image: Image) -> None:
    (store.layer_dir(image.layers[0]) / "opt/venv/planted.py").write_text("import os\n")
    assert [("layer", image.layers[0].diff_id)] == kinds(check(store))


def test_the_record_of_a_layer_that_is_cut_off_is_found(store: Store, image: Image) -> None:
    (store.layer_dir(image.layers[0]).parent / "layer.json").write_text("")
    assert [("layer", image.layers[0].diff_id)] == kinds(check(store))


@pytest.mark.parametrize("record", ["", '{"layers": 7}', '{"config":{},"created_at":0,"groups":[],"layers":[],"manifest":{}}'])
def test_a_damaged_record_of_an_image_is_found_and_goes(store: Store, image: Image, record: str) -> None:
    (store.root / "images" / f"{image.digest.hex}.json").write_text(record)
    problems = check(store)
    assert [("image", image.digest)] == kinds(problems)
    remove(store, problems[0])
    assert [] == check(store)


def test_an_image_that_lacks_a_layer_is_named_with_it(store: Store, image: Image) -> None:
    remove(store, Problem("layer", image.layers[0].diff_id, ""))
    (problem,) = check(store)
    assert ("incomplete image", image.digest, "lacks `venv for python 3.13.5`") == (problem.kind, problem.digest, problem.what)
    assert [".gate"] == os.listdir(store.root / "tmp")
