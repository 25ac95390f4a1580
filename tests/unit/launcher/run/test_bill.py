"""The bill of materials that is made beside a run, and reaches the image once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from image_maker import image_of

from launcher.plan.images.recipe import SBOM, attach_bill
from launcher.run.supervisor.bill import bill_taken
from runtime.state_dir import RunDir
from runtime.store.records import Image
from runtime.store.store import Store


@pytest.fixture
def image(store: Store) -> Image:
    return image_of(store, {"etc/os-release": "ID=debian\n"})


def test_a_new_image_is_read_beside_the_run_for_the_run_and_the_store(run_dir: RunDir, image: Image, store: Store) -> None:
    with bill_taken(run_dir, image.digest, store):
        pass
    assert image.digest == json.loads(run_dir.sbom.read_bytes())["metadata"]["component"]["version"]
    assert run_dir.sbom.read_bytes() == store.attached(image, SBOM)


def test_an_image_that_has_its_bill_is_not_read_again(run_dir: RunDir, image: Image, store: Store) -> None:
    attach_bill(image, store)
    with bill_taken(run_dir, image.digest, store):
        assert run_dir.sbom.samefile(store.attachment(image.digest, SBOM))


def test_a_run_that_goes_on_keeps_the_bill_of_its_first_life(run_dir: RunDir, image: Image, store: Store) -> None:
    run_dir.sbom.write_text("{}")
    with bill_taken(run_dir, image.digest, store):
        pass
    assert "{}" == run_dir.sbom.read_text()


def test_an_image_that_cannot_be_read_ends_no_run(run_dir: RunDir, image: Image, store: Store) -> None:
    Path(store.root / "images").rename(store.root / "gone")
    with bill_taken(run_dir, image.digest, store):
        pass
    assert not run_dir.sbom.exists()


def test_a_run_that_fails_waits_for_its_bill_too(run_dir: RunDir, image: Image, store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), bill_taken(run_dir, image.digest, store):
        raise KeyboardInterrupt
    assert run_dir.sbom.exists()
