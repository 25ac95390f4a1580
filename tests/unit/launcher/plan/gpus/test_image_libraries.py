"""What the files of an image mean for a driver's libraries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.plan.gpus.image_libraries import image_notes
from runtime.container.spec import ContainerSpec
from runtime.gpu.edits import Edits

EDITS = Edits(library_dirs=("/usr/local/nvidia/lib64",))


def notes(layer: Path, edits: Edits = EDITS) -> tuple[str, ...]:
    return image_notes(ContainerSpec("c", (layer,), Path("/o"), ("true",)), edits)


@pytest.fixture
def musl(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / f"lib/ld-musl-{os.uname().machine}.so.1").touch()
    return tmp_path


def test_an_image_with_musl_is_told_that_cuda_cannot_be_loaded_there(musl: Path) -> None:
    (note,) = notes(musl)
    assert "musl (Alpine), and the driver's libraries are made for glibc" in note


def test_nothing_is_said_without_a_drivers_libraries_or_of_an_image_with_no_c_library(musl: Path, tmp_path: Path) -> None:
    assert () == notes(musl, Edits())
    empty = tmp_path / "empty"
    empty.mkdir()
    assert () == notes(empty)
